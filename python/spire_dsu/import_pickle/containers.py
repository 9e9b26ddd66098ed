"""What joblib wraps around a pickle: one layer of compression, undone under a limit on its size."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Protocol

from spire_dsu.import_pickle.source import RefusedError

MIN_UNPACKED = 64 << 20
"""What any file may unpack to, however small it is."""

MAX_RATIO = 64
"""A larger file may unpack to this many times its size: centroids are noise and shrink little."""

_BLOCK = 1 << 18
_LZMA_MEMORY = 160 << 20  # a dictionary of 64 MiB is what the strongest preset needs


class Unpacker(Protocol):
    """The common shape of the incremental decompressors of the standard library."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    """zlib's decompressor, with the interface of the other ones.

    Args:
        wbits: 15 for zlib's own header, 31 for gzip's.
    """

    def __init__(self, wbits: int) -> None:
        self._unpacker = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def unused_data(self) -> bytes:
        return self._unpacker.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._unpacker.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._unpacker.decompress(self._unpacker.unconsumed_tail + data, max_length)


def _optional(name: str) -> Any:
    """A module that some builds of Python lack. Imported now: the sandbox opens no file later."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_BZ2, _LZMA = _optional("bz2"), _optional("lzma")
_ERRORS: tuple[type[Exception], ...] = (zlib.error, OSError, EOFError, ValueError)
_UNPACKERS: dict[bytes, tuple[str, Callable[[], Unpacker]]] = {
    b"\x78": ("zlib", lambda: _Zlib(15)),
    b"\x1f\x8b": ("gzip", lambda: _Zlib(31)),
}
if _BZ2:
    _UNPACKERS[b"BZ"] = ("bzip2", _BZ2.BZ2Decompressor)
if _LZMA:
    _ERRORS += (_LZMA.LZMAError,)
    for _magic, _name in ((b"\xfd7zXZ", "xz"), (b"\x5d\x00", "lzma")):
        _UNPACKERS[_magic] = (_name, lambda: _LZMA.LZMADecompressor(memlimit=_LZMA_MEMORY))


def find_unpacker(head: bytes) -> tuple[str, Unpacker] | None:
    """The name and a decompressor for what a file begins with; `None` where none is known.

    Raises:
        RefusedError: a container of joblib before 0.10, LZ4, or an archive.
    """
    if head.startswith(b"\x04\x22\x4d\x18"):
        raise RefusedError(
            "compressed by LZ4, which Python's own library cannot read: load it where it was made "
            "and write it again with joblib.dump(model, path, compress=3)"
        )
    if head.startswith(b"ZF"):
        raise RefusedError("a file of joblib before 0.10, whose arrays are files of their own")
    if head.startswith(b"PK"):
        raise RefusedError("a zip archive: .npz and PyTorch files are no k-means files")
    for magic, (name, make) in _UNPACKERS.items():
        if head.startswith(magic):
            return name, make()
    return None


def unpack(name: str, unpacker: Unpacker, packed: BinaryIO, size: int, out: BinaryIO) -> int:
    """Decompresses a whole file into another one.

    Args:
        name: what it is called in errors.
        unpacker: of `find_unpacker`.
        packed: the compressed file, at its beginning.
        size: its length in bytes, which decides how much may come out.
        out: what it is written to.

    Returns:
        The number of bytes written.

    Raises:
        RefusedError: damaged, truncated, followed by more, or unpacking to more than the limit.
    """
    limit = max(MIN_UNPACKED, MAX_RATIO * size)
    written = 0
    try:
        for piece in _pieces(unpacker, iter(lambda: packed.read(_BLOCK), b"")):
            written += len(piece)
            if written > limit:
                raise RefusedError(f"{size} bytes of {name} unpack to over {limit}")
            out.write(piece)
    except _ERRORS as error:
        raise RefusedError(f"damaged {name} data: {error}") from error
    if not unpacker.eof:
        raise RefusedError(f"truncated {name} data")
    if unpacker.unused_data or packed.read(1):
        raise RefusedError(f"more bytes follow the {name} data")
    return written


def _pieces(unpacker: Unpacker, blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield unpacker.decompress(block, _BLOCK)
        # One block in can be a gigabyte out: it comes in pieces, and the caller counts them.
        while not unpacker.eof and not unpacker.needs_input:
            yield unpacker.decompress(b"", _BLOCK)
        if unpacker.eof:
            return
