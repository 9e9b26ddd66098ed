"""Parquet with the recordings inside, as the Hugging Face hub keeps data sets: a column {bytes,
path} and labels.

Only the labels are read here; the recordings stay where they are, and `AudioCell` says in which
cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from spire_dsu.errors import ManifestError
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.folder import files_below
from spire_dsu.manifest.ids import names_of
from spire_dsu.manifest.jsonl import text_of
from spire_dsu.textio import Note, clean, printable, utterance
from spire_dsu.textio.lines import open_binary
from spire_dsu.types import AudioCell

if TYPE_CHECKING:
    import pyarrow.parquet as pq

COLUMNS = {"audio": "audio", "id": "id", "text": "text", "lang": "lang", "speaker": "speaker"}
_BATCH = 1024


def read_parquet(
    path: str, note: Note, columns: Mapping[str, str], keep: tuple[str, ...]
) -> Iterator[Row]:
    """One row per row of the file, or of all .parquet files of a folder and below, in the order of
    their names.

    An id that no column gives comes from the recording's own path; where that is not unique, from
    file and row.

    Raises:
        ManifestError: no Parquet, no column with bytes, an asked-for column that is absent, a label
            of a wrong type.
    """
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise ManifestError(f"no column {sorted(unknown)} here: {', '.join(COLUMNS)}")
    several = os.path.isdir(path)
    files = files_below(path, ".parquet", note) if several else [path]
    for file in files:
        shown = printable(os.path.relpath(file, path) if several else os.path.basename(file))
        yield from _read_file(file, shown, note, columns, keep)


def as_parquet(file: IO[bytes], name: str) -> pq.ParquetFile:
    """An open file as Parquet, read in pages: a row group is never held as a whole.

    Raises:
        ManifestError: it is no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{name}: no Parquet: {error}") from error


def _read_file(
    path: str, shown: str, note: Note, columns: Mapping[str, str], keep: tuple[str, ...]
) -> Iterator[Row]:
    name = printable(path)
    with open_binary(path, note) as file:
        table = as_parquet(file, name)
        names, leaves = _choose(table.schema_arrow, name, columns, keep)
        stem, row = names_of(shown)[0], 0
        for group in range(table.num_row_groups):
            for cell, values in enumerate(_labels(table, group, leaves, f"{name}: group {group}")):
                reference = AudioCell(path, group, cell, names["audio"])
                yield _row(values, reference, names, keep, f"{name}: row {row}", f"{stem}/{row}")
                row += 1


def _labels(
    table: pq.ParquetFile, group: int, leaves: list[str], place: str
) -> Iterator[dict[str, Any]]:
    """The rows of a row group, without what is not among the leaves."""
    import pyarrow as pa

    try:
        for batch in table.iter_batches(
            _BATCH, row_groups=[group], columns=leaves, use_threads=False
        ):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{place} is damaged: {error}") from error


def _choose(
    schema: Any, name: str, columns: Mapping[str, str], keep: tuple[str, ...]
) -> tuple[dict[str, str], list[str]]:
    """Our name -> the file's, for the columns that are there, and the leaves to read."""
    import pyarrow as pa

    absent = [column for column in (*columns.values(), *keep) if column not in schema.names]
    audio = columns.get("audio", COLUMNS["audio"])
    if absent or audio not in schema.names:
        raise ManifestError(f"{name}: no column {absent or [audio]} among {schema.names}")
    kind = schema.field(audio).type
    inner = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
    if not _is_binary(inner.get("bytes", kind)):
        raise ManifestError(
            f"{name}: column {audio!r} is {str(kind)[:80]}, not a recording's bytes"
        )
    names = COLUMNS | dict(columns)
    names = {ours: theirs for ours, theirs in names.items() if theirs in schema.names}
    leaves = [theirs for ours, theirs in names.items() if ours != "audio"] + list(keep)
    if "path" in inner:
        leaves.append(f"{audio}.path")
    # With no leaf there is no row to count, so the cheapest one stands for it.
    return names, leaves or [f"{audio}.bytes" if inner else audio]


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _row(
    values: Mapping[str, Any],
    reference: AudioCell,
    names: Mapping[str, str],
    keep: tuple[str, ...],
    place: str,
    numbered: str,
) -> Row:
    given, text, lang, speaker = (
        text_of(values, names[ours], place) if ours in names else None
        for ours in ("id", "text", "lang", "speaker")
    )
    cell = values.get(reference.column)
    inside = cell.get("path") if isinstance(cell, dict) else None
    first = given or (names_of(inside)[0] if inside else numbered)
    item = utterance(
        first,
        reference,
        source=f"{numbered}:{clean(inside)}" if inside else numbered,
        extra=tuple((key, str(values[key])) for key in keep if values.get(key) is not None),
        text=text,
        lang=lang,
        speaker=speaker,
    )
    return Row(item, None if given else numbered)
