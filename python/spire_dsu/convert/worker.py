"""Makes shards: the same code under each engine, which knows of no other worker."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from spire_dsu.convert.feed import Feed
from spire_dsu.convert.job import Done, Facts, Spec, Tally, Target
from spire_dsu.convert.packs import Encode, Packs
from spire_dsu.convert.recordings import Decoded, text_of
from spire_dsu.errors import AudioError, Reason
from spire_dsu.manifest import Manifest
from spire_dsu.shards import write_shard
from spire_dsu.types import SAMPLING_RATE, Float32, UnitRow, Units

AHEAD_SECONDS = 1200.0
GPU_PACK_SECONDS = 2700.0  # eight packs of the encoder a call, which overlap within it
_MOST_GPU_DECODERS = 16
_CARRIED = ("id", "text", "lang", "speaker", "source", "offset", "duration")
_NO_UNITS = Units(np.zeros(0, np.int32), np.zeros(0, np.int32))


class Trouble:
    """What a worker that dies on a shard leaves behind: the next one finds the row at fault.

    A file tells that the shard was begun, and at which rows workers died. Who finds one already
    takes a row at a time and notes each before it is encoded; a row on which two workers died gets
    its reason.

    Attributes:
        careful: a worker has died on this shard.
    """

    def __init__(self, scratch: Path, shard: int) -> None:
        self._path = scratch / f"begun-{shard:05d}"
        self.careful = self._path.exists()
        self._deaths: list[int] = []
        if self.careful:
            with contextlib.suppress(ValueError):  # not whole after a power cut: nothing is known
                self._deaths = [int(row) for row in self._path.read_bytes().split()]
        self.note()

    def killed_by(self, row: int) -> bool:
        """Whether two workers have died on this row of the shard."""
        return self._deaths.count(row) >= 2

    def note(self, *row: int) -> None:
        """Says which row comes next; without one, that none is to blame."""
        temporary = self._path.with_suffix(".new")
        temporary.write_text(" ".join(map(str, (*self._deaths, *row))), encoding="ascii")
        temporary.replace(self._path)

    def over(self) -> None:
        """The shard is written."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Model:
    """What a worker calls for units, and what those depend on.

    Attributes:
        encode: waveforms in, their units out.
        fingerprint: what decides the units, with `num_clusters`.
        devices: GPUs that the process sees; none where it works on the CPU.
    """

    encode: Encode
    fingerprint: dict[str, JsonValue]
    devices: int = 0


def load_model(spec: Spec) -> Model:
    """Loads the model that the specification names.

    Raises:
        SpireError: it cannot be used.
    """
    # Imported here: whoever hands out shards imports this module, too, and needs no torch.
    import torch

    from spire_dsu.discretizer import Discretizer

    # One thread each: a library's sums may depend on how many there are.
    torch.set_num_threads(1)
    found = Discretizer.from_pretrained(spec.model, device=spec.device, precision=spec.precision)
    device = found.encoder.device
    on_gpu = device.type == "cuda"
    hardware = f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return Model(
        encode=lambda waves: list(found.encode_stream(waves)),
        fingerprint={
            **found.fingerprint(),
            "num_clusters": found.num_units,
            "torch": str(torch.__version__),
            "hardware": torch.cuda.get_device_name(device) if on_gpu else hardware,
        },
        devices=torch.cuda.device_count() if on_gpu else 0,
    )


class ShardWorker:
    """A model, and what feeds it. For one thread, but for what says otherwise.

    Attributes:
        feed: takes the numbers of the shards to make, from any thread.
    """

    def __init__(self, spec: Spec, model: Model | None = None) -> None:
        """Args: model: the one that `spec` names, loaded already; by default it is loaded now.

        Raises:
            SpireError: the model or the file of rows cannot be used.
        """
        self._model = model or load_model(spec)
        pack_seconds = GPU_PACK_SECONDS if self._model.devices else 0
        self._max_seconds = spec.max_seconds
        self._packs = Packs(self._model.encode, round(pack_seconds * SAMPLING_RATE))
        self._target: Target | None = None
        self._samples, self._counts, self._examples = 0, Counter[str](), dict[str, str]()
        self.feed = Feed(
            Manifest(spec.rows),
            spec.rows_per_shard,
            decoders=spec.decoders or self._default_decoders(),
            # The next call's audio is there when a call of the encoder ends, or the GPU would wait.
            ahead_seconds=AHEAD_SECONDS + pack_seconds,
            max_seconds=spec.max_seconds,
            timeout_seconds=spec.timeout_seconds,
        )

    def _default_decoders(self) -> int:
        if not self._model.devices:
            return 1  # one decodes hundreds of times as fast as a core encodes
        cores = len(os.sched_getaffinity(0))
        return max(1, min(_MOST_GPU_DECODERS, cores // self._model.devices - 1))

    def facts(self) -> Facts:
        """What the output depends on, and what the worker runs on."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return Facts(
            fingerprint={**self._model.fingerprint, "max_seconds": self._max_seconds},
            devices=self._model.devices,
            memory=pages * os.sysconf("SC_PAGE_SIZE"),
        )

    def begin(self, target: Target) -> None:
        """Says where the shards go; once, before the first."""
        self._target = target

    def tally(self) -> Tally:
        """What became of the rows of the shard that it is on. From any thread."""
        counts, examples = dict(self._counts), dict(self._examples)
        return Tally(samples=self._samples, counts=counts, examples=examples)

    def make_next(self, worker: int) -> Done:
        """Waits for the next shard that was enqueued, and writes it.

        Args:
            worker: its number, for the answer.

        Raises:
            OSError: the disk failed, or is full.
            SpireError: the manifest is damaged.
        """
        assert self._target is not None, "begin comes first"
        shard, rows = self.feed.take()
        scratch = Path(self._target.scratch)
        trouble = Trouble(scratch, shard)
        self._samples, self._counts, self._examples = 0, Counter(), {}
        made = self._counted(self._encoded(rows, trouble))
        folder, fingerprint = Path(self._target.folder), self._target.fingerprint
        info = write_shard(folder, shard, made, fingerprint, scratch=scratch)
        trouble.over()
        return Done(worker, info, self.tally())

    def _encoded(self, rows: Iterator[Decoded], trouble: Trouble) -> Iterator[UnitRow]:
        if not trouble.careful:
            for pack in self._packs.cut(rows, lambda row: row.num_samples):
                yield from self._encode_pack(pack)
            return
        for number, row in enumerate(rows):
            trouble.note(number)
            if trouble.killed_by(number):
                row = row.refused(Reason.DECODE_ERROR, "two workers died on it")
            yield from self._encode_pack([row])
            trouble.note()  # what happens until the next one is had is no row's fault

    def _encode_pack(self, pack: list[Decoded]) -> Iterator[UnitRow]:
        waves: list[Float32] = [row.samples for row in pack if row.samples is not None]
        results = iter(self._packs.encode(waves) if waves else [])
        for row in pack:
            units = _NO_UNITS if row.samples is None else next(results)
            if isinstance(units, AudioError):
                row, units = row.refused(units.reason, text_of(units)), _NO_UNITS
            elif row.reason is Reason.OK and not len(units):  # a cut that leaves no frame
                row = row.refused(Reason.TOO_SHORT, "no frame")
            yield _row(row, units)

    def _counted(self, rows: Iterator[UnitRow]) -> Iterator[UnitRow]:
        for row in rows:
            self._counts[str(row.status)] += 1
            if row.status is Reason.OK:
                self._samples += row.num_samples
            else:
                self._examples.setdefault(str(row.status), row.message)
            yield row


def _row(row: Decoded, units: Units) -> UnitRow:
    about = row.utterance
    return UnitRow(
        status=row.reason,
        units=units.ids.astype(np.uint16),
        durations=units.durations.astype(np.uint32),
        num_samples=row.num_samples,
        num_frames=units.num_frames,
        message=row.message,
        **{name: getattr(about, name) for name in _CARRIED},
    )
