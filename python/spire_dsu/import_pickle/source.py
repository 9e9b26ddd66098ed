"""Reading a file of bounded size: every length is checked before it is believed."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_BLOCK = 1 << 20
# Found once at import: looking a codec up opens files, which the sandbox forbids later.
_UTF8 = codecs.getincrementaldecoder("utf-8")
_LATIN1 = codecs.getincrementalencoder("latin-1")


class RefusedError(Exception):
    """The file is not an acceptable k-means file; the text says why."""


class Blob(NamedTuple):
    """Bytes that stay in the file until they are wanted.

    Attributes:
        offset: where they begin.
        size: how many they are in the file.
        latin1: they are UTF-8 text whose characters are the bytes (how protocol 2 writes bytes).
    """

    offset: int
    size: int
    latin1: bool = False


class Text(NamedTuple):
    """A long text that stays in the file: only bytes of protocol 2 are written so."""

    offset: int
    size: int


class Source:
    """A file that is read from front to back, with its size known.

    Args:
        file: open for reading, seekable.
        size: its length in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.position = 0
        file.seek(0)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.require(count)
        data = self._file.read(count)
        if len(data) != count:
            raise RefusedError(f"cannot read {count} bytes at {self.position}")
        self.position += count
        return data

    def skip(self, count: int) -> int:
        """Goes over `count` bytes and returns where they begin."""
        self.require(count)
        start = self.position
        self.position += count
        self._file.seek(self.position)
        return start

    def line(self, longest: int) -> str:
        """ASCII text up to a newline, which is read and not returned."""
        data = self._file.readline(longest + 1)
        self.position += len(data)
        if not data.endswith(b"\n") or not data.isascii():
            raise RefusedError(f"no name of at most {longest} ASCII characters, but {data[:40]!r}")
        return data[:-1].decode("ascii")

    def pieces(self, blob: Blob) -> Iterator[bytes]:
        """The bytes of a blob, in blocks."""
        self._file.seek(blob.offset)
        left, decoder, encoder = blob.size, _UTF8(), _LATIN1()
        while left:
            block = self._file.read(min(_BLOCK, left))
            if not block:
                raise RefusedError(f"cannot read {left} bytes at {blob.offset + blob.size - left}")
            left -= len(block)
            if not blob.latin1:
                yield block
                continue
            try:
                yield encoder.encode(decoder.decode(block, final=not left))
            except UnicodeError as error:
                raise RefusedError(f"bytes written as text are no Latin-1: {error}") from error

    def require(self, count: int) -> None:
        """Refuses a number of bytes that the file does not have any more."""
        left = self.size - self.position
        if not 0 <= count <= left:
            raise RefusedError(
                f"truncated: {count} bytes are declared at {self.position}, {left} are left"
            )
