"""Which rows of a manifest k-means sees: some of each speaker, so many hours, chosen by hash.

The hash of a row is that of its id and the seed. A speaker keeps the rows of least hash, and of all
that are kept those of least hash are taken until the hours are full; they are read in the order of
the hash of their recording. So the choice and its order are the same however the manifest is
sorted, and a larger budget adds rows to those of a smaller one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spire_dsu.config import Config
from spire_dsu.errors import InputError
from spire_dsu.files import write_atomically
from spire_dsu.manifest import Manifest
from spire_dsu.manifest.build import FILE_NAME
from spire_dsu.manifest.codec import Row, encode
from spire_dsu.manifest.row_file import BLOCK_ROWS, RowFileWriter
from spire_dsu.types import Utterance

UNKNOWN_SECONDS = 10.0
"""What a row counts for whose length the manifest does not say."""

HELDOUT = ("heldout", "1")
"""In `Utterance.extra` of rows that are measured and not fitted."""

SUMMARY = "selection.json"
_CHUNK = 65_536
_ROW = np.dtype(
    [
        ("index", "i8"),
        ("rank", "u8"),
        ("place", "u8"),
        ("speaker", "u8"),
        ("offset", "f8"),
        ("seconds", "f8"),
    ]
)
Table = npt.NDArray[np.void]


class Selection(Config):
    """What was chosen.

    Attributes:
        manifest_rows, manifest_speakers, manifest_hours: before; rows that do not say how long they
            are count for 10 s.
        without_speaker: rows that name none; no limit per speaker holds for them.
        unusable: rows with a problem that the manifest itself shows, by reason.
        rows, speakers, hours: chosen.
        heldout_rows: of the chosen rows, those that are measured and not fitted.
    """

    manifest_rows: int
    manifest_speakers: int
    manifest_hours: float
    without_speaker: int
    unusable: dict[str, int]
    rows: int
    speakers: int
    hours: float
    heldout_rows: int


def seconds_of(row: Utterance) -> float:
    """How long a row is, as far as the manifest says."""
    if row.duration is not None:
        return row.duration
    known = None if row.expected is None else row.expected - row.offset
    return known if known is not None and known > 0 else UNKNOWN_SECONDS


def select(
    manifest: Manifest,
    folder: Path,
    *,
    seed: int,
    max_per_speaker: int | None,
    hours: float,
    heldout: float,
    check: Callable[[], None],
) -> tuple[Manifest, Selection]:
    """Chooses rows and writes them as a manifest of their own; memory grows with the choice alone.

    Args:
        manifest: what to choose from.
        folder: where the chosen rows go, and are found again by the next call.
        seed: of the hashes.
        max_per_speaker: rows of one speaker; None: any number.
        hours: of all rows together, at most (one row is always taken).
        heldout: share of the chosen rows that are not fitted; at least one row, where there are
            two.
        check: called often; may raise.

    Raises:
        InputError: no row can be used, or none names a speaker and a limit is asked for.
    """
    path, summary = folder / FILE_NAME, folder / SUMMARY
    if summary.exists():  # written after the rows
        return Manifest(path), Selection.model_validate_json(summary.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    tally = _Tally()
    kept = np.empty(0, _ROW)
    for chunk in _tables(tally.counted(manifest), seed, check):
        kept = _of_each_speaker(np.concatenate([kept, chunk]), max_per_speaker)
        if max_per_speaker is None:  # else rows that a speaker still loses would leave a gap
            kept = _within(kept, hours * 3600)
    _refuse(tally, max_per_speaker, str(manifest))
    kept = _within(kept, hours * 3600)
    measured = _heldout(kept, heldout)
    order = np.lexsort((kept["rank"], kept["offset"], kept["place"]))
    _write(manifest, path, kept[order], measured[order], check)
    chosen = Selection(
        manifest_rows=tally.rows,
        manifest_speakers=len(tally.speakers),
        manifest_hours=tally.seconds / 3600,
        without_speaker=tally.without_speaker,
        unusable=dict(sorted(tally.unusable.items())),
        rows=len(kept),
        speakers=int(np.unique(kept["speaker"][kept["speaker"] > 0]).size),
        hours=float(kept["seconds"].sum()) / 3600,
        heldout_rows=int(measured.sum()),
    )
    write_atomically(summary, chosen.model_dump_json(indent=1).encode())
    return Manifest(path), chosen


class _Tally:
    """What the manifest holds."""

    def __init__(self) -> None:
        self.rows = self.without_speaker = 0
        self.seconds = 0.0
        self.unusable: Counter[str] = Counter()
        self.speakers: set[int] = set()  # hashes: 60 bytes a speaker, whatever the names

    def counted(self, manifest: Manifest) -> Iterator[tuple[int, Utterance]]:
        """The rows that can be used, with their numbers."""
        for index, row in enumerate(manifest):
            self.rows += 1
            if row.problem is not None:
                self.unusable[str(row.problem[0])] += 1
                continue
            self.seconds += seconds_of(row)
            self.without_speaker += row.speaker is None
            if row.speaker is not None:
                self.speakers.add(_hash(row.speaker))
            yield index, row


def _refuse(tally: _Tally, max_per_speaker: int | None, name: str) -> None:
    usable = tally.rows - sum(tally.unusable.values())
    if not usable:
        raise InputError(f"{name}: none of {tally.rows} rows can be used: {dict(tally.unusable)}")
    if max_per_speaker is not None and not tally.speakers:
        raise InputError(
            f"{name}: no row names a speaker, so {max_per_speaker} rows per speaker mean nothing"
        )


def _tables(
    rows: Iterator[tuple[int, Utterance]], seed: int, check: Callable[[], None]
) -> Iterator[Table]:
    while chunk := [_entry(index, row, seed) for index, row in islice(rows, _CHUNK)]:
        check()
        yield np.array(chunk, _ROW)


def _entry(index: int, row: Utterance, seed: int) -> tuple[int, int, int, int, float, float]:
    speaker = 0 if row.speaker is None else _hash(row.speaker) or 1
    rank, place = _hash(f"{seed} row {row.id}"), _hash(f"{seed} recording {row.source}")
    return index, rank, place, speaker, row.offset, seconds_of(row)


def _hash(text: str) -> int:
    data = text.encode("utf-8", errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _of_each_speaker(table: Table, most: int | None) -> Table:
    """The rows of least rank of each speaker, and all that have none."""
    if most is None or not table.size:
        return table
    table = table[np.lexsort((table["rank"], table["speaker"]))]
    firsts = np.flatnonzero(np.diff(table["speaker"], prepend=~table["speaker"][0]))
    sizes = np.diff(firsts, append=table.size)
    number = np.arange(table.size) - np.repeat(firsts, sizes)
    kept: Table = table[(number < most) | (table["speaker"] == 0)]
    return kept


def _within(table: Table, seconds: float) -> Table:
    """The rows of least rank that last so long together; at least one."""
    table = table[np.argsort(table["rank"], kind="stable")]
    fitting = int(np.searchsorted(np.cumsum(table["seconds"]), seconds, side="right"))
    return table[: max(1, fitting)]


def _heldout(table: Table, share: float) -> npt.NDArray[np.bool_]:
    """Which rows are measured and not fitted, by another hash."""
    count = min(max(1, round(share * table.size)), table.size - 1) if share else 0
    other = table["rank"] * np.uint64(0x9E3779B97F4A7C15)  # odd: no two become one
    chosen = np.zeros(table.size, np.bool_)
    chosen[np.argsort(other ^ (other >> np.uint64(29)), kind="stable")[:count]] = True
    return chosen


def _write(
    manifest: Manifest,
    path: Path,
    table: Table,
    heldout: npt.NDArray[np.bool_],
    check: Callable[[], None],
) -> None:
    """Writes the rows of the table, in its order, as a file of rows."""
    base = manifest.base.rstrip("/") + "/"
    order = np.argsort(table["index"])
    found: dict[int, list[Any]] = {}
    for block, members in _by_block(table["index"][order], order):
        check()
        rows = manifest.rows(block, min(block + BLOCK_ROWS, len(manifest)))
        utterances = list(rows)
        for at in members:
            row = utterances[int(table["index"][at]) - block]
            extra = (HELDOUT,) if heldout[at] else ()
            found[at] = encode(Row(replace(row, extra=extra, text=None)), base)
    writer = RowFileWriter(path)
    try:
        for at in range(len(table)):
            writer.add(found[at])
        writer.end_rows()
        facts = {"base": manifest.base, "form": manifest.form}
        writer.finish(facts, {"renamed": []}, durable=True)
    finally:
        writer.close()


def _by_block(
    indices: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> Iterator[tuple[int, list[int]]]:
    """(first row of a block, places in the table of the rows in it), by ascending rows."""
    blocks = indices // BLOCK_ROWS * BLOCK_ROWS
    firsts = np.flatnonzero(np.diff(blocks, prepend=-1))
    for first, last in zip(firsts, [*firsts[1:], len(blocks)], strict=True):
        yield int(blocks[first]), order[first:last].tolist()
