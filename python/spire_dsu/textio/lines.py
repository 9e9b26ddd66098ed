"""Lines and tables of text files: UTF-8 with or without BOM, any line end, gzip, never more than a
line in memory.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from spire_dsu.errors import ManifestError

MAX_LINE_BYTES = 16 << 20
"""A longer line is refused, unread: no row of a manifest is that long, and a file without line ends
may be any size.
"""

Path = str | os.PathLike[str]
Note = Callable[[Path], None]
"""Is told of each file and folder that rows are read from, before it is read."""


def ignore(path: Path) -> None:
    """A `Note` for who does not want to know."""
    del path


def printable(path: str | bytes | os.PathLike[str]) -> str:
    """A path as text that any terminal, JSON file or table can hold: bytes that are no UTF-8 become
    \\xNN.
    """
    if isinstance(path, str):
        return clean(path)
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def clean(text: str) -> str:
    """Text that UTF-8 can hold: bytes that were no UTF-8 become \\xNN, lone surrogates become
    \\uNNNN.
    """
    if text.isascii():
        return text
    try:
        raw = text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", errors="backslashreplace")
    return raw.decode("utf-8", errors="backslashreplace")


def open_binary(path: Path, note: Note = ignore) -> IO[bytes]:
    """A regular file for reading, through gzip where its name ends in .gz.

    Raises:
        ManifestError: there is none, it may not be read, or it is a pipe, a device or a folder.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would block, a device never end
            raise ManifestError(f"{printable(path)}: not a regular file")
        note(path)
        if os.fspath(path).endswith(".gz"):
            return io.BufferedReader(gzip.GzipFile(path, "rb"))
        return open(path, "rb")
    except ManifestError:
        raise
    except (OSError, ValueError) as error:
        raise ManifestError(f"{printable(path)}: {error}") from error


def read_lines(
    path: Path, note: Note = ignore, *, errors: str = "strict", keep_blank: bool = False
) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of a text file; lines end at \\n or \\r\\n and nowhere
    else.

    Args:
        path: UTF-8 text, gzip where the name ends in .gz.
        note: told of the file.
        errors: "strict" refuses bytes that are no UTF-8; "surrogateescape" keeps them, for lists of
            paths.
        keep_blank: also yields lines without text; for files whose lines correspond to another
            file's.

    Raises:
        ManifestError: names file and line.
    """
    name = printable(path)
    with open_binary(path, note) as file:
        number = 0
        while True:
            number += 1
            try:
                raw = file.readline(MAX_LINE_BYTES + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise ManifestError(f"{name}:{number}: cannot be read on: {error}") from error
            if not raw:
                return
            if len(raw) > MAX_LINE_BYTES:
                raise ManifestError(f"{name}:{number}: a line of over {MAX_LINE_BYTES} bytes")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                line = raw.decode("utf-8", errors=errors)
            except UnicodeDecodeError as error:
                raise ManifestError(f"{name}:{number}: not UTF-8: {error}") from error
            line = line.removesuffix("\n").removesuffix("\r")
            if keep_blank or (line and not line.isspace()):
                yield number, line


def read_table(
    path: Path,
    required: tuple[str, ...],
    note: Note = ignore,
    *,
    delimiter: str = "\t",
    open_end: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> cell) of a table whose first line names its columns; quotes mean
    nothing.

    Corpus tables hold unbalanced quotes, so nothing is unquoted. With `open_end` the last column
    takes further delimiters: a transcript that nobody escaped.

    Raises:
        ManifestError: a required column is absent, or a row has another number of cells than the
            header.
    """
    lines = read_lines(path, note, errors="surrogateescape")
    first = next(lines, None)
    if first is None:
        raise ManifestError(
            f"{printable(path)}: empty, its first line should name {', '.join(required)}"
        )
    header = first[1].split(delimiter)
    absent = [column for column in required if column not in header]
    if absent:
        raise ManifestError(
            f"{printable(path)}:1: no column {', '.join(absent)}; it has {clean(', '.join(header))}"
        )
    for number, line in lines:
        cells = line.split(delimiter, len(header) - 1 if open_end else -1)
        if len(cells) != len(header):
            raise ManifestError(
                f"{printable(path)}:{number}: {len(cells)} cells where the header has {len(header)}"
            )
        yield number, dict(zip(header, cells, strict=True))


def read_pairs(
    path: Path, note: Note = ignore, *, separator: str | None = None
) -> Iterator[tuple[int, str, str]]:
    """(line number, key, rest) of lines "key rest"; the rest may be empty. `separator` None: any
    white space.
    """
    for number, line in read_lines(path, note, errors="surrogateescape"):
        key, _, rest = line.partition(separator) if separator else _split_word(line)
        yield number, key, rest


def _split_word(line: str) -> tuple[str, str, str]:
    parts = line.split(maxsplit=1)
    return parts[0], " ", parts[1].rstrip() if len(parts) > 1 else ""
