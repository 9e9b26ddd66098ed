"""The rows of a manifest as one file: written once, then read at any row without reading what is
before it.

    magic | blocks of 1,024 rows | blocks of what they were read from | index | footer | 20 bytes

A block is JSON under zlib, whose checksum finds damage. The index holds the byte where each block
starts: 8 bytes for 1,024 rows, so ten million rows take 80 KB of memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.errors import ManifestError
from spire_dsu.types import Int64

BLOCK_ROWS = 1024
_MAGIC = b"spire-dsu rows 1\n"
_TAIL = struct.Struct("<QQI")  # bytes of index, bytes of footer, their CRC-32


class RowFileWriter:
    """Writes rows, then notes, then the footer; the caller moves the whole file to where it
    belongs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._file.write(_MAGIC)
        self._starts: list[int] = []
        self._pending: list[Any] = []
        self._row_blocks = 0
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, row: list[Any]) -> None:
        """Appends a row, a list of JSON values."""
        self._pending.append(row)
        self.count += 1
        if len(self._pending) == BLOCK_ROWS:
            self._digest.update(self._flush())

    def end_rows(self) -> None:
        """What is added with `add_note` after this is no row and does not enter the digest."""
        if self._pending:
            self._digest.update(self._flush())
        self._row_blocks = len(self._starts)

    def read_back(self, first: int, last: int) -> Iterator[list[Any]]:
        """Rows [first, last), also before `finish`."""
        self._file.flush()
        starts = np.array([*self._starts, self._file.tell()], dtype=np.int64)
        yield from _read_rows(self.path, starts, first, last)

    def add_note(self, note: list[Any]) -> None:
        """Appends one thing that the rows were read from."""
        self._pending.append(note)
        if len(self._pending) == BLOCK_ROWS:
            self._flush()

    def finish(self, facts: dict[str, Any], digested: dict[str, Any], *, durable: bool) -> None:
        """Writes the footer; `digested` are facts that belong to what the rows say, so they enter
        the digest.
        """
        if self._pending:
            self._flush()
        self._digest.update(_dump(digested))
        starts = np.array([*self._starts, self._file.tell()], dtype=np.int64)
        footer = facts | digested
        footer |= {
            "rows": self.count,
            "row_blocks": self._row_blocks,
            "digest": self._digest.hexdigest(),
        }
        index, text = starts.astype("<i8").tobytes(), _dump(footer)
        self._file.write(index + text)
        self._file.write(_TAIL.pack(len(index), len(text), zlib.crc32(index + text)))
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Lets go of the file; what was written so far is not whole."""
        self._file.close()

    def _flush(self) -> bytes:
        raw = _dump(self._pending)
        self._starts.append(self._file.tell())
        self._file.write(zlib.compress(raw, 1))
        self._pending = []
        return raw


class RowFile:
    """A finished file of rows.

    Attributes:
        facts: the footer.
        count: number of rows.
        digest: SHA-256 of what the rows say.

    Raises:
        ManifestError: the file is not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts, self.facts = _read_footer(path)
        self.count: int = self.facts["rows"]
        self.digest: str = self.facts["digest"]

    def rows(self, first: int, last: int) -> Iterator[list[Any]]:
        """Rows [first, last), decoded a block at a time."""
        yield from _read_rows(self.path, self._starts, first, last)

    def notes(self) -> Iterator[list[Any]]:
        """What the rows were read from."""
        for block in range(self.facts["row_blocks"], len(self._starts) - 1):
            yield from _read_block(self.path, self._starts, block)


def _read_rows(path: Path, starts: Int64, first: int, last: int) -> Iterator[list[Any]]:
    for block in range(first // BLOCK_ROWS, -(-last // BLOCK_ROWS)):
        begin = block * BLOCK_ROWS
        yield from _read_block(path, starts, block)[max(first - begin, 0) : last - begin]


def _read_block(path: Path, starts: Int64, block: int) -> list[list[Any]]:
    start, end = int(starts[block]), int(starts[block + 1])
    try:
        with path.open("rb") as file:
            rows: list[list[Any]] = json.loads(
                zlib.decompress(os.pread(file.fileno(), end - start, start))
            )
    except (OSError, zlib.error, ValueError) as error:
        raise ManifestError(f"{path}: damaged at byte {start}: {error}") from error
    return rows


def _read_footer(path: Path) -> tuple[Int64, dict[str, Any]]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            tail = os.pread(file.fileno(), _TAIL.size, max(size - _TAIL.size, 0))
            if len(tail) < _TAIL.size or os.pread(file.fileno(), len(_MAGIC), 0) != _MAGIC:
                raise ManifestError(f"{path}: not a file of rows")
            index_size, text_size, crc = _TAIL.unpack(tail)
            start = size - _TAIL.size - index_size - text_size
            if start < len(_MAGIC):
                raise ManifestError(f"{path}: its footer is damaged")
            footer = os.pread(file.fileno(), index_size + text_size, start)
    except OSError as error:
        raise ManifestError(f"{path}: {error}") from error
    if zlib.crc32(footer) != crc:
        raise ManifestError(f"{path}: its footer is damaged")
    starts = np.frombuffer(footer, dtype="<i8", count=index_size // 8).astype(np.int64)
    return starts, json.loads(footer[index_size:])


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")
