"""Where the members of a tar are, without reading them: a member of a tar is a range of the tar's
bytes.

Written for archives from anywhere: a header's claim is held against the file's size, long names
have a limit, and an archive without its end mark is refused, because nobody can say what else was
in it. Formats: POSIX ustar with pax headers, and GNU's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, clean, printable
from spire_dsu.textio.lines import open_binary

_BLOCK = 512
_MAX_HEADER = 1 << 20
_FILE, _GNU_LONG_NAME, _PAX, _PAX_GLOBAL = b"07\0", b"L", b"x", b"g"
_LINKS, _PASSED_OVER = b"12", b"5K"


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar: `size` bytes from byte `start` of the tar."""

    name: str
    start: int
    size: int


def walk_tar(path: str, note: Note) -> Iterator[Member]:
    """The files of a tar in their order.

    Raises:
        ManifestError: compressed, damaged, cut off, or with links, sparse or special files in it.
    """
    if path.endswith(".gz"):
        raise ManifestError(
            f"{printable(path)}: a compressed tar has no byte ranges; unpack it (gunzip)"
        )
    with open_binary(path, note) as file:
        total = os.fstat(file.fileno()).st_size
        if file.read(2) == b"\x1f\x8b":
            raise ManifestError(
                f"{printable(path)}: a compressed tar has no byte ranges; unpack it"
            )
        at, name, size = 0, None, None
        while True:
            header = _read_header(file, path, at)
            if header is None:
                _check_end(file, path)
                return
            kind, own_name, own_size = header
            own_size = own_size if size is None else size
            start = at + _BLOCK
            if start + own_size > total:
                raise ManifestError(
                    f"{printable(path)}: cut off in {(name or own_name)!r}: "
                    f"{total - start} of {own_size} bytes"
                )
            at = start + -(-own_size // _BLOCK) * _BLOCK
            if kind in _FILE:
                if not (name or own_name).endswith("/"):  # old tars mark folders so
                    yield Member(clean(name or own_name), start, own_size)
                name = size = None
            elif kind == _GNU_LONG_NAME:
                raw = _read_extension(file, path, own_size)
                name = raw.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif kind == _PAX:
                name, size = _read_pax(_read_extension(file, path, own_size), path, name)
            elif kind in _PASSED_OVER or kind == _PAX_GLOBAL:
                name, size = (None, None) if kind == b"5" else (name, size)
            else:
                what = "a link" if kind in _LINKS else f"of type {kind!r}"
                raise ManifestError(
                    f"{printable(path)}: {(name or own_name)!r} is {what}, not a file"
                )
            file.seek(at)


def _read_header(file: IO[bytes], path: str, at: int) -> tuple[bytes, str, int] | None:
    """(type, name, size), or None for the end mark."""
    file.seek(at)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK:
        raise ManifestError(f"{printable(path)}: cut off at byte {at}: the end mark is missing")
    if not any(block):
        return None
    declared = _number(block[148:156])
    if declared != sum(block) - sum(block[148:156]) + 8 * 32:
        raise ManifestError(f"{printable(path)}: no tar, or damaged, at byte {at}")
    size = _number(block[124:136])
    if size is None or size < 0:
        raise ManifestError(f"{printable(path)}: a size of {size} at byte {at}")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    return block[156:157], name, size


def _number(field: bytes) -> int | None:
    """Octal text, or GNU's binary form for what is too large for it."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(
            bytes([0 if field[0] == 0x80 else 0xFF]) + field[1:], "big", signed=True
        )
    text = field.strip(b"\0 ")
    if any(digit not in b"01234567" for digit in text):
        return None
    return int(text, 8) if text else 0


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _read_extension(file: IO[bytes], path: str, size: int) -> bytes:
    if size > _MAX_HEADER:
        raise ManifestError(f"{printable(path)}: a header of {size} bytes")
    return file.read(size)


def _read_pax(raw: bytes, path: str, name: str | None) -> tuple[str | None, int | None]:
    """(name, size) that a pax header gives to the next member; "length key=value" records."""
    size: int | None = None
    while raw:
        length, _, _ = raw.partition(b" ")
        if not length.isdigit() or not len(length) + 1 < int(length[:8]) <= len(raw):
            raise ManifestError(f"{printable(path)}: a damaged pax header {raw[:40]!r}")
        key, _, value = raw[len(length) + 1 : int(length) - 1].partition(b"=")
        raw = raw[int(length) :]
        if key == b"path":
            name = value.decode("utf-8", "surrogateescape")
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise ManifestError(f"{printable(path)}: a size of {value[:40]!r}")
            size = int(value)
        elif key.startswith(b"GNU.sparse."):
            raise ManifestError(
                f"{printable(path)}: {name!r} is sparse: its bytes are not in one piece"
            )
    return name, size


def _check_end(file: IO[bytes], path: str) -> None:
    """Nothing but zeros may follow the end mark, else rows would be lost in silence."""
    while block := file.read(1 << 20):
        if any(block):
            raise ManifestError(
                f"{printable(path)}: more behind its end mark, as in joined tars; keep them apart"
            )
