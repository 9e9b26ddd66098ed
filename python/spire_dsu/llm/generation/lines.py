"""A file of JSON lines that a killed run goes on with, and that ends in the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spire_dsu.files import write_atomically
from spire_dsu.llm.generation.settings import GenerationError

Line = dict[str, Any]


class ResumableLines:
    """JSON lines with an `id`, below a header, while they come in any order.

    Lines are appended to `.OUT.partial` and synchronised batch by batch; `finish` writes them to
    OUT in a fixed order, so that an interrupted run ends in the same bytes.

    Args:
        out: the finished file; its folder is made.
        header: what must be equal for lines to be mixed.

    Raises:
        GenerationError: a file there has another header, or is damaged.
    """

    def __init__(self, out: Path, header: Line) -> None:
        self._out = out
        self._partial = out.with_name(f".{out.name}.partial")
        self._header = header
        self.known: dict[str, Line] = {}
        out.parent.mkdir(parents=True, exist_ok=True)
        for path in (self._out, self._partial):
            self._load(path)

    def _load(self, path: Path) -> None:
        if not path.is_file():
            return
        _cut_torn_line(path)
        lines = read_json_lines(path)
        if not lines:  # killed before the first line was whole
            path.unlink()
            return
        if lines[0] != self._header:
            raise GenerationError(
                f"{path}: holds answers of another model or other settings; move it away"
            )
        self.known |= {line["id"]: line for line in lines[1:]}

    def append(self, lines: Iterable[Line]) -> None:
        """Adds lines; they outlive a crash once this returns."""
        new = list(lines)
        fresh = not self._partial.exists()
        with self._partial.open("ab") as file:
            for line in [self._header, *new] if fresh else new:
                file.write(_json(line))
            file.flush()
            os.fsync(file.fileno())
        self.known |= {line["id"]: line for line in new}

    def finish(self, ids: Sequence[str]) -> None:
        """Writes the finished file: exactly these ids, in this order."""
        lines = [self._header, *(self.known[name] for name in ids)]
        write_atomically(self._out, (_json(line) for line in lines))
        self._partial.unlink(missing_ok=True)


def read_json_lines(path: Path) -> list[Line]:
    """The objects of a file.

    Raises:
        GenerationError: a line is no JSON object.
    """
    try:
        lines = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    except ValueError as error:
        raise GenerationError(f"{path}: a line is no JSON: {error}") from error
    if not all(isinstance(line, dict) for line in lines):
        raise GenerationError(f"{path}: a line is no JSON object")
    return lines


def _json(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _cut_torn_line(path: Path) -> None:
    """A last line without its line break was never synchronised."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
