"""Line formats: fairseq's .km, units as text, JSON lines.

A line holds no id in the first two, as their readers expect; the ids stand beside them, one JSON
string per line, so that nothing need be matched by line number alone.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.export.common import (
    Exported,
    ExportError,
    Tally,
    check_digest,
    make_room,
    note_path,
    write_note,
)
from spire_dsu.shards import UnitBatch, open_shards
from spire_dsu.storage import AtomicFile
from spire_dsu.types import FIRST_PRIVATE_USE, Int64

_BLOCK = 1 << 19
_LAST_PRIVATE_USE = 0xFFFFD


def export_km(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    frames: bool = False,
    ids: bool = True,
) -> Exported:
    """Writes fairseq's .km: a line of units with spaces per utterance.

    Args:
        folder: a finished conversion.
        path: the file to write.
        frames: one unit per frame of 20 ms; otherwise runs stay merged.
        ids: also write PATH.ids.jsonl, the id of each line.

    Raises:
        ShardError: the conversion is not finished or damaged.
        ExportError: what was written does not read back.
        OSError: the disk failed.
    """
    return _export_lines(folder, Path(path), "km", str, " ", frames=frames, ids=ids)


def export_text(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    form: str = "extra_id",
    frames: bool = False,
    ids: bool = True,
) -> Exported:
    """Writes a line of units as text per utterance, without spaces.

    Args:
        folder: a finished conversion.
        path: the file to write.
        form: "extra_id" for "<extra_id_17>...", "pua" for one private-use character per unit.
        frames: one unit per frame of 20 ms; otherwise runs stay merged.
        ids: also write PATH.ids.jsonl, the id of each line.

    Raises:
        ShardError: the conversion is not finished or damaged.
        ExportError: no such form, or one with too few characters; or what was written does not
            read back.
        OSError: the disk failed.
    """
    forms: dict[str, Callable[[int], str]] = {
        "extra_id": lambda unit: f"<extra_id_{unit}>",
        "pua": lambda unit: chr(FIRST_PRIVATE_USE + unit),
    }
    if form not in forms:
        raise ExportError(f"unknown text form {form!r}: use 'extra_id' or 'pua'")
    last = FIRST_PRIVATE_USE + open_shards(folder).num_clusters - 1
    if form == "pua" and last > _LAST_PRIVATE_USE:
        raise ExportError(f"unit {last - FIRST_PRIVATE_USE} has no private-use character")
    return _export_lines(
        folder, Path(path), "text", forms[form], "", form=form, frames=frames, ids=ids
    )


def export_jsonl(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Exported:
    """Writes every row as a line of JSON, with all columns; those without units too.

    Args:
        folder: a finished conversion.
        path: the file to write.

    Raises:
        ShardError: the conversion is not finished or damaged.
        ExportError: what was written does not read back.
        OSError: the disk failed.
    """
    shards, tally, path = open_shards(folder), Tally(), Path(path)
    make_room(note_path(path))
    with AtomicFile(path) as file:
        for batch, ok_N in tally.with_units(shards):
            tally.rows += int((~ok_N).sum())
            tally.units += batch.units.size
            for row in batch.table.to_pylist():
                if not math.isfinite(row["offset"]):  # a bad segment's; JSON has no such numbers
                    row["offset"] = None
                if row["duration"] is not None and not math.isfinite(row["duration"]):
                    row["duration"] = None
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    tally.left_out.clear()
    check_digest(path, file.size, file.sha256)
    return tally.exported(path, write_note(path, "jsonl", shards, tally, [file]))


def _export_lines(
    folder: str | os.PathLike[str],
    path: Path,
    to: str,
    word: Callable[[int], str],
    separator: str,
    *,
    frames: bool,
    ids: bool,
    **options: Any,
) -> Exported:
    shards, tally = open_shards(folder), Tally()
    table = _word_table(shards.num_clusters, word, separator)
    ids_path = path.with_name(f"{path.name}.ids.jsonl")
    make_room(note_path(path), ids_path)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(AtomicFile(path))
        files = [file, *([stack.enter_context(AtomicFile(ids_path))] if ids else [])]
        for batch, ok_N in tally.with_units(shards):
            units, splits = _frames(batch) if frames else (batch.units, batch.row_splits)
            tally.units += units.size
            for block in _render(units, splits, table):
                file.write(block)
            if ids:
                names = batch.column("id")
                lines = [f"{json.dumps(names[n])}\n" for n in np.flatnonzero(ok_N)]
                files[1].write("".join(lines).encode())
    for one in files:
        check_digest(one.path, one.size, one.sha256)
    note = write_note(path, to, shards, tally, files, frames=frames, **options)
    return tally.exported(*(one.path for one in files), note)


def _frames(batch: UnitBatch) -> tuple[Any, Int64]:
    """One unit per frame, and the row splits that go with it."""
    ends = np.concatenate([[0], np.cumsum(batch.durations, dtype=np.int64)])
    return np.repeat(batch.units, batch.durations), ends[batch.row_splits]


def _word_table(clusters: int, word: Callable[[int], str], separator: str) -> Any:
    """Words as NumPy byte strings [2 K]: each unit's within a line, then each unit's at its end."""
    within = [f"{word(unit)}{separator}".encode() for unit in range(clusters)]
    return np.array(within + [f"{word(unit)}\n".encode() for unit in range(clusters)])


def _render(units: Any, row_splits: Int64, table: Any) -> Iterator[bytes]:
    """The text of a batch: words are looked up, and what pads them to one width is dropped."""
    indices = units.astype(np.intp)
    ends = row_splits[1:][np.diff(row_splits) > 0] - 1
    indices[ends] += table.size // 2
    for start in range(0, indices.size, _BLOCK):
        letters = table[indices[start : start + _BLOCK]].view(np.uint8)
        yield letters[letters != 0].tobytes()
