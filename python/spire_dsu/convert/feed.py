"""Decodes the rows of shard after shard ahead of whoever encodes them, within a budget."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass

from spire_dsu.convert.recordings import Decoded, RecordingDecoder, recordings
from spire_dsu.errors import AudioError, ManifestError
from spire_dsu.journal import Plan
from spire_dsu.manifest import Manifest, RecordingReader
from spire_dsu.types import SAMPLING_RATE, AudioBytes, Utterance

_GUESS_SECONDS = 30.0  # for a row that does not say how long it is, until it is decoded
_LEAST_SAMPLES = 1600  # a row without samples takes memory, too
_BYTES_PER_SAMPLE = 4


class FeedClosedError(Exception):
    """No more rows will come."""


class Budget:
    """So many samples may be in memory at a time, or one recording that is larger than that."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()
        self._closed = False

    def acquire(self, samples: int) -> bool:
        """Waits until there is room; False once `close` was called."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._used or self._used + samples <= self._limit
            )
            self._used += samples
            return not self._closed

    def add(self, samples: int) -> None:
        """More was needed than thought (or less, below 0), or is given back."""
        with self._changed:
            self._used += samples
            self._changed.notify_all()

    def close(self) -> None:
        """Lets the one who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(slots=True)
class _Item:
    """Rows that are being decoded."""

    cost: int
    rows: Future[list[Decoded]]


class Feed:
    """A thread that reads, and threads that decode in child processes; all in the rows' order.

    A budget bounds what is ahead: `ahead_seconds` of audio, or one stretch of a recording where
    that is more. Until a row is decoded, its length is what the manifest says, or a guess.
    """

    def __init__(
        self,
        manifest: Manifest,
        rows_per_shard: int,
        *,
        decoders: int,
        ahead_seconds: float,
        max_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._manifest = manifest
        self._plan = Plan(len(manifest), rows_per_shard)
        self._budget = Budget(round(ahead_seconds * SAMPLING_RATE))
        self._shards: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[int | _Item | BaseException | None] = queue.SimpleQueue()
        self._decoders = [
            RecordingDecoder(max_seconds=max_seconds, timeout_seconds=timeout_seconds)
            for _ in range(decoders)
        ]
        self._idle: queue.SimpleQueue[RecordingDecoder] = queue.SimpleQueue()
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def enqueue(self, shard: int) -> None:
        """Starts with this shard as soon as those before it are read."""
        self._shards.put(shard)

    def take(self) -> tuple[int, Iterator[Decoded]]:
        """Waits for the next shard; its rows are to be used up before the next call.

        Raises:
            FeedClosedError: `close` was called.
            RuntimeError, OSError: no decoding process can be started.
            ManifestError: the file of rows is damaged, or is another one by now.
        """
        shard = self._next()
        assert isinstance(shard, int), "the rows of the shard before were used up"
        return shard, self._rows()

    def close(self) -> None:
        """Ends the threads and their children."""
        self._budget.close()
        self._shards.put(None)
        self._thread.join()
        for decoder in self._decoders:
            decoder.child.close()

    def kill_children(self) -> None:
        """Ends the children at once, from any thread: for a process that is about to end itself."""
        for decoder in self._decoders:
            if (pid := decoder.child.pid) is not None:
                os.kill(pid, signal.SIGKILL)

    def _next(self) -> int | _Item | None:
        item = self._ready.get()
        if isinstance(item, BaseException):
            self._ready.put(item)  # whoever asks again gets the same answer
            raise item
        return item

    def _rows(self) -> Iterator[Decoded]:
        while (item := self._next()) is not None:
            assert isinstance(item, _Item)
            try:
                rows = item.rows.result()
            except CancelledError:
                raise FeedClosedError from None
            yield from rows
            self._budget.add(-item.cost)

    def _run(self) -> None:
        try:
            with RecordingReader() as reader, ThreadPoolExecutor(len(self._decoders)) as pool:
                while (shard := self._shards.get()) is not None:
                    self._ready.put(shard)
                    if not self._read(shard, reader, pool):
                        break
                    self._ready.put(None)
                pool.shutdown(cancel_futures=True)  # not after an error: rows before it are good
            self._ready.put(FeedClosedError())
        except BaseException as error:  # whoever takes the rows gets it
            self._ready.put(error)

    def _read(self, shard: int, reader: RecordingReader, pool: ThreadPoolExecutor) -> bool:
        """Hands the rows of a shard to the decoders; False when the feed is closed."""
        rows = self._plan.rows(shard)
        for group in recordings(self._manifest.rows(rows.start, rows.stop)):
            cost = sum(map(_estimate, group))
            if not self._budget.acquire(cost):
                return False
            source: str | bytes | AudioError = ""
            if group[0].problem is None:
                try:
                    source = reader.read(group[0].audio)
                except AudioError as error:
                    source = error
            item = _Item(cost, Future())
            item.rows = pool.submit(self._decode, item, source, group)
            self._ready.put(item)
        # The rows are read again and again from a file that another run may replace.
        if Manifest(self._manifest.path).digest != self._manifest.digest:
            raise ManifestError(f"{self._manifest.path}: replaced by another one while it was read")
        return True

    def _decode(
        self, item: _Item, source: str | bytes | AudioError, group: list[Utterance]
    ) -> list[Decoded]:
        decoder = self._idle.get()
        try:
            rows = decoder.decode(source, group)
        finally:
            self._idle.put(decoder)
        needed = sum(max(row.num_samples, _LEAST_SAMPLES) for row in rows)
        self._budget.add(needed - item.cost)
        item.cost = needed
        return rows


def _estimate(row: Utterance) -> int:
    """Samples that a row will have, as far as one can tell."""
    seconds = next(
        (each for each in (row.duration, row.expected) if each is not None), _GUESS_SECONDS
    )
    samples = round(seconds * SAMPLING_RATE) if 0 <= seconds < 1e6 else 0
    packed = row.audio.size // _BYTES_PER_SAMPLE if isinstance(row.audio, AudioBytes) else 0
    return max(samples, packed, _LEAST_SAMPLES)
