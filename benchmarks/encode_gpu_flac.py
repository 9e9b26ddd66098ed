"""From FLAC files to committed shards by the worker that `convert` runs, on a model loaded already.

Each call makes one shard: children decode, the encoder and the kernels make units, a Parquet file
is written. What a run pays once is left out: processes, the model, the graph's capture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
import torch
from pydantic import JsonValue
from torch import Tensor

import spire_dsu
from spire_dsu.convert.job import Spec, Target
from spire_dsu.convert.worker import Model, ShardWorker
from spire_dsu.manifest import open_manifest
from spire_dsu.shards import ShardInfo, read_shard

RATE = 16_000


class FlacToShards:
    """Calls make shards 0, 1, 2 ... of the same recordings, `rounds` times each.

    Attributes:
        waves: what the files hold, float32 on the host.
        seconds: audio in one shard.
    """

    def __init__(
        self, model: spire_dsu.Discretizer, waves: Sequence[Tensor], folder: Path,
        *, rounds: int, shards: int, decoders: int | None = None,
    ) -> None:  # fmt: skip
        """Args: shards: calls at most; decoders: processes, by default as many as `convert` has."""
        self.waves = [_written(wave, folder / f"{i}.flac") for i, wave in enumerate(waves)]
        self.seconds = rounds * sum(len(wave) for wave in waves) / RATE
        self._out, self._rows = folder / "out", rounds * len(waves)
        self._made: list[ShardInfo] = []
        self._fingerprint: dict[str, JsonValue] = {"num_clusters": model.num_units}
        with (folder / "list.jsonl").open("w") as file:
            for row in range(shards * self._rows):
                line = {"id": str(row), "audio_filepath": f"{row % len(waves)}.flac"}
                file.write(json.dumps(line) + "\n")
        rows = open_manifest(folder / "list.jsonl", work=folder / "rows")
        device = model.encoder.device.type
        spec = Spec(
            model="", device=device, precision=model.encoder.precision, rows=str(rows.path),
            rows_per_shard=self._rows, decoders=decoders,
        )  # fmt: skip
        self._worker = ShardWorker(
            spec,
            Model(
                encode=lambda some: list(model.encode_stream(some)),
                fingerprint=self._fingerprint,
                devices=int(device == "cuda"),
            ),
        )
        for name in ("out", "scratch"):
            (folder / name).mkdir()
        self._worker.begin(
            Target(
                folder=str(self._out),
                scratch=str(folder / "scratch"),
                fingerprint=self._fingerprint,
            )
        )

    def __enter__(self) -> FlacToShards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._worker.feed.close()

    def __call__(self) -> None:
        """Makes the next shard."""
        self._worker.feed.enqueue(len(self._made))
        info = self._worker.make_next(0).info
        if info.counts != {"ok": self._rows}:
            raise RuntimeError(f"{info.file}: {info.counts} in place of {self._rows} good rows")
        self._made.append(info)

    def frames(self) -> list[Tensor]:
        """The unit of each frame of each row of the shard that was made last."""
        batches = read_shard(self._out, self._made[-1], self._fingerprint)
        rows = [row for batch in batches for row in batch.rows()]
        return [torch.from_numpy(np.repeat(row.units, row.durations).astype(int)) for row in rows]


def _written(wave: Tensor, path: Path) -> Tensor:
    """What is left of a wave in 16 bits."""
    soundfile.write(path, np.clip(wave.cpu().numpy(), -1, 1), RATE, subtype="PCM_16")
    return torch.from_numpy(soundfile.read(path, dtype="float32")[0])
