"""The frames of the chosen rows: decoded ahead, encoded, thinned evenly, put into the cache.

Where the cache cannot hold all frames, each row keeps a part of it as large as its part of the
audio, frames evenly spread over the row. A row that has no features becomes a count with a reason.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from spire_dsu.convert.feed import Feed
from spire_dsu.convert.packs import Packs
from spire_dsu.convert.recordings import Decoded
from spire_dsu.convert.worker import GPU_PACK_SECONDS
from spire_dsu.errors import AudioError, InputError, Reason
from spire_dsu.features import Encoder
from spire_dsu.fit.cache import Cache
from spire_dsu.fit.phones import PhoneTimes
from spire_dsu.fit.select import HELDOUT, seconds_of
from spire_dsu.fit.state import Extracted, FitConfig
from spire_dsu.manifest import Manifest
from spire_dsu.types import SAMPLING_RATE, Float32, Int64

CHUNK_ROWS = 64
_AHEAD_SECONDS = 1200.0


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One utterance for the encoder: its samples, and the frames of it that are kept."""

    samples: Float32
    frames: Int64

    def __len__(self) -> int:
        return int(self.samples.size)


Result = tuple[Decoded, Job | None, "Float32 | AudioError | None"]


class Extraction:
    """Frames of chosen rows, from where an earlier run of it ended.

    Attributes:
        done: how far it has come.
    """

    def __init__(
        self,
        chosen: Manifest,
        encoder: Encoder,
        cache: Cache,
        config: FitConfig,
        phones: PhoneTimes | None = None,
        *,
        threads: int,
        done: Extracted | None = None,
    ) -> None:
        """Args: threads: that encode on a CPU, one utterance each; the frames are the same."""
        self.done = done or Extracted()
        self._rows, self._encoder, self._cache = chosen, encoder, cache
        self._config, self._phones = config, phones
        on_gpu = encoder.device.type == "cuda"
        self._threads = 1 if on_gpu else threads
        limit = round(GPU_PACK_SECONDS * SAMPLING_RATE) * on_gpu
        self._packs: Packs[Job, Float32] = Packs(lambda jobs: kept_frames(encoder, jobs), limit)
        # What a second of audio may keep, by kind.
        seconds = {"fitted": 0.0, "heldout": 0.0}
        for row in chosen:
            seconds[_kind(row.extra)] += seconds_of(row)
        room = {"fitted": cache.room.fitted, "heldout": cache.room.heldout}
        self._share = {kind: room[kind] / max(seconds[kind], 1e-9) for kind in room}

    def run(self, after_chunk: Callable[[], None], check: Callable[[], None]) -> None:
        """Fills the cache.

        Args:
            after_chunk: called whenever `done` and the cache agree.
            check: called for each row; may raise.

        Raises:
            OSError: the scratch file cannot grow.
            ManifestError: the chosen rows are damaged.
        """
        chunks = -(-len(self._rows) // CHUNK_ROWS)
        feed = Feed(
            self._rows,
            CHUNK_ROWS,
            decoders=1 + self._threads // 8,
            ahead_seconds=_AHEAD_SECONDS,
            max_seconds=self._config.max_seconds,
            timeout_seconds=self._config.timeout_seconds,
        )
        # A library's sums may depend on its number of threads: each utterance has one.
        pool = ThreadPoolExecutor(self._threads, "encode", torch.set_num_threads, (1,))
        try:
            for chunk in range(self.done.chunks, chunks):
                feed.enqueue(chunk)
            while self.done.chunks < chunks and not self.done.finished:
                _, rows = feed.take()
                for result in self._encoded(rows, pool):
                    check()
                    self._take(*result)
                self._update(chunks=self.done.chunks + 1, finished=self._is_full())
                after_chunk()
            self._update(finished=True)
            after_chunk()
        finally:
            pool.shutdown(cancel_futures=True)
            feed.close()

    def _is_full(self) -> bool:
        hours = self.done.samples / SAMPLING_RATE / 3600
        return not self._cache.free("fitted") or hours >= self._config.hours

    def _update(self, **changes: object) -> None:
        used = {**self._cache.used, "crc": dict(self._cache.crc)}
        self.done = self.done.model_copy(update={**used, **changes})

    def _encoded(self, rows: Iterator[Decoded], pool: ThreadPoolExecutor) -> Iterator[Result]:
        """The rows in their order, a few of them encoded ahead."""
        waiting: deque[Future[list[Result]]] = deque()
        for pack in self._packs.cut(rows, lambda row: row.num_samples):
            waiting.append(pool.submit(self._encode, pack))
            if len(waiting) > 2 * self._threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    def _encode(self, pack: list[Decoded]) -> list[Result]:
        jobs = [self._job(row) for row in pack]
        present = [job for job in jobs if job is not None]
        found = iter(self._packs.encode(present) if present else [])
        return [
            (row, job, None if job is None else next(found))
            for row, job in zip(pack, jobs, strict=True)
        ]

    def _job(self, row: Decoded) -> Job | None:
        """None for a row without features."""
        if row.samples is None:
            return None
        total = self._encoder.num_frames(row.num_samples)
        share = self._share[_kind(row.utterance.extra)]
        wanted = max(1, int(share * seconds_of(row.utterance)))
        return Job(row.samples, spread(total, wanted, f"{self._config.seed} {row.utterance.id}"))

    def _take(self, row: Decoded, job: Job | None, result: Float32 | AudioError | None) -> None:
        """Puts one row into the cache and the counts."""
        reason, message = row.reason, row.message
        samples = frames = 0
        if isinstance(result, AudioError):
            reason, message = result.reason, f"{row.utterance.source}: {result}"
        elif job is not None and result is not None:
            samples, frames = row.num_samples, self._encoder.num_frames(row.num_samples)
            times = self._phones
            labels = None if times is None else times.labels(row.utterance.id, job.frames)
            self._cache.add(_kind(row.utterance.extra), result, labels)
        status, old = str(reason), self.done
        news = {} if reason is Reason.OK or status in old.examples else {status: message}
        self._update(
            rows=old.rows + 1,
            counts={**old.counts, status: old.counts.get(status, 0) + 1},
            examples={**old.examples, **news},
            samples=old.samples + samples,
            frames=old.frames + frames,
        )


def _kind(extra: tuple[tuple[str, str], ...]) -> str:
    return "heldout" if HELDOUT in extra else "fitted"


def spread(total: int, wanted: int, name: str) -> Int64:
    """int64 [min(total, wanted)]: evenly spread frames, shifted by a hash of a name."""
    count = min(total, wanted)
    digest = hashlib.blake2b(name.encode("utf-8", errors="surrogateescape"), digest_size=8).digest()
    shift = int.from_bytes(digest, "little") / 2**64
    return ((np.arange(count) + shift) * (total / max(count, 1))).astype(np.int64).clip(0, total)


def kept_frames(encoder: Encoder, jobs: Sequence[Job]) -> list[Float32]:
    """float32 [frames, D] of each job; others are dropped as they come.

    Raises:
        InputError: the encoder makes NaN or infinity of a waveform.
    """
    parts: list[list[Float32]] = [[] for _ in jobs]
    seen = [0] * len(jobs)
    for block in encoder.stream([job.samples for job in jobs]):
        features = np.asarray(block.features.float().cpu())
        for row, (start, stop) in enumerate(
            zip(block.row_splits[:-1], block.row_splits[1:], strict=True)
        ):
            which = block.first + row
            wanted = jobs[which].frames - seen[which]
            inside = wanted[(wanted >= 0) & (wanted < stop - start)]
            parts[which].append(features[start:stop][inside])
            seen[which] += int(stop - start)
    found = [
        np.concatenate(part) if part else np.empty((0, encoder.dim), np.float32) for part in parts
    ]
    for each in found:
        if not np.isfinite(each).all():
            raise InputError("a feature is NaN or infinity")
    return found
