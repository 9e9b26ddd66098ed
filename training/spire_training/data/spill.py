"""The shuffle: documents go to a bucket on disk by a random key, and come back bucket by bucket.

Memory holds one bucket at a time, disk about three bytes per token. A document's key depends on its
id and the seed alone, so the order of the sources does not show in the order of the documents.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spire_dsu.types import Int32
from spire_training.data.packed import Marks

_HEAD = struct.Struct("<QQHBfI")  # place, choice, stream, held, seconds, tokens
_BUFFER = 1 << 16


class Entry(NamedTuple):
    """A document on its way from source to row.

    Attributes:
        place: 64-bit key of the shuffle.
        choice: 64-bit key by which a stream that has too much is thinned.
        stream: number of the stream.
        held: whether it is held out.
        seconds: of speech in it.
        tokens: int32 [n].
        marks: uint8 [n].
    """

    place: int
    choice: int
    stream: int
    held: bool
    seconds: float
    tokens: Int32
    marks: Marks


class Spill:
    """Writes entries to buckets, then reads them back in the order of their keys.

    Args:
        folder: an empty folder for the buckets.
        buckets: how many.
        dtype: of token ids on disk.
    """

    def __init__(self, folder: Path, buckets: int, dtype: Any) -> None:
        self._paths = [folder / f"bucket-{number:05d}" for number in range(buckets)]
        self._buffers = [bytearray() for _ in self._paths]
        self._dtype = np.dtype(dtype)

    def add(self, entry: Entry) -> None:
        """Takes an entry; on disk by the next `flush` at the latest."""
        number = entry.place * len(self._paths) >> 64
        buffer = self._buffers[number]
        head = (*entry[:5], entry.tokens.size)
        buffer += _HEAD.pack(*head)
        buffer += entry.tokens.astype(self._dtype).tobytes()
        buffer += entry.marks.tobytes()
        if len(buffer) > _BUFFER:
            self._drain(number)

    def flush(self) -> None:
        """Writes what is still in memory."""
        for number in range(len(self._paths)):
            self._drain(number)

    def __iter__(self) -> Iterator[Entry]:
        for path in self._paths:
            data = path.read_bytes() if path.exists() else b""
            entries = list(self._parsed(data))
            entries.sort(key=lambda entry: entry.place)  # stable: equal keys stay as they came
            for entry in entries:
                yield entry._replace(tokens=entry.tokens.astype(np.int32))
            path.unlink(missing_ok=True)

    def _drain(self, number: int) -> None:
        # A file is opened for each write: thousands of buckets are more than a process may hold.
        with self._paths[number].open("ab") as file:
            file.write(self._buffers[number])
        self._buffers[number].clear()

    def _parsed(self, data: bytes) -> Iterator[Entry]:
        at = 0
        while at < len(data):
            place, choice, stream, held, seconds, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            tokens = np.frombuffer(data, self._dtype, size, at)
            at += size * self._dtype.itemsize
            marks = np.frombuffer(data, np.uint8, size, at)
            at += size
            yield Entry(place, choice, stream, bool(held), seconds, tokens, marks)
