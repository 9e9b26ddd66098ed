"""Rows -> a Parquet shard. The same rows always make the same bytes."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from spire_dsu.shards.listing import (
    METADATA_KEY,
    ShardInfo,
    canonical,
    num_clusters,
    provenance,
    shard_name,
)
from spire_dsu.shards.rows import SCHEMA, ShardError, check
from spire_dsu.storage import DISK, AtomicFile, Storage
from spire_dsu.types import UnitRow

GROUP_ROWS = 4096
GROUP_WEIGHT = 1 << 22
"""A row group ends at so many rows, or units and characters: about 30 MB, all a writer holds."""


def write_shard(
    folder: Path,
    index: int,
    rows: Iterable[UnitRow],
    fingerprint: Mapping[str, JsonValue],
    *,
    scratch: Path | None = None,
    storage: Storage = DISK,
) -> ShardInfo:
    """Writes `units-INDEX.parquet`, whole and durable or not at all.

    Args:
        folder: the output folder.
        index: the shard's number.
        rows: its rows in the manifest's order, at least one; taken one by one, so that a long shard
            needs no more memory than a short one.
        fingerprint: what decided the units, with `num_clusters`; kept in the file's metadata.
        scratch: where the temporary file goes, on the same file system; by default beside the
            shard.
        storage: the calls to use.

    Raises:
        ShardError: a row contradicts itself; the text names it by its id.
        OSError: the disk failed or is full. Nothing has that name then, or what had it before.
    """
    clusters = num_clusters(fingerprint)
    path = Path(folder) / shard_name(index)
    unique = f"{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
    temporary = None if scratch is None else scratch / unique
    metadata = {METADATA_KEY: canonical(provenance(index, fingerprint))}
    counts: Counter[str] = Counter()
    sums = dict.fromkeys(("samples", "frames", "units"), 0)
    with AtomicFile(path, temporary=temporary, storage=storage) as file:
        writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            SCHEMA,
            version="2.6",
            compression="zstd",
            compression_level=1,
            use_dictionary=True,  # every reader knows it, and byte-stream split is no smaller here
            write_statistics=False,
            write_page_checksum=True,
            store_schema=False,
        )
        try:
            for group in _groups(rows):
                batch = check(_to_arrow(group), index, clusters, path.name)
                writer.write_batch(batch.table, row_group_size=len(batch))
                counts.update(batch.statuses())
                sums["samples"] += int(batch.numbers("num_samples")[batch.ok].sum())
                sums["frames"] += int(batch.durations.sum(dtype=np.int64))
                sums["units"] += batch.units.size
            if not counts:
                raise ShardError(f"{path.name}: a shard has at least one row")
            writer.add_key_value_metadata(metadata)
            writer.close()
        except BaseException:
            # Not closed now, it would write its footer when it is collected, to a descriptor
            # that belongs to another file by then.
            with contextlib.suppress(Exception):
                writer.close()
            writer.is_open = False
            raise
    return ShardInfo(
        index=index,
        file=path.name,
        sha256=file.sha256,
        bytes=file.size,
        rows=counts.total(),
        counts=dict(sorted(counts.items())),
        **sums,
    )


def _groups(rows: Iterable[UnitRow]) -> Iterator[list[UnitRow]]:
    """Cuts rows into row groups. The borders depend on the rows alone, as the bytes do."""
    group: list[UnitRow] = []
    weight = 0
    for row in rows:
        group.append(row)
        weight += len(row.units) + len(row.text or "")
        if len(group) == GROUP_ROWS or weight >= GROUP_WEIGHT:
            yield group
            group, weight = [], 0
    if group:
        yield group


def _text(value: str | None) -> str | None:
    """Text as UTF-8 can hold it: half of a surrogate pair, which JSON lets through, is escaped."""
    return None if value is None else value.encode(errors="backslashreplace").decode()


def _lists(arrays: list[Any], kind: pa.DataType, what: str, rows: list[UnitRow]) -> pa.ListArray:
    for row, array in zip(rows, arrays, strict=True):
        if (
            not isinstance(array, np.ndarray)
            or array.ndim != 1
            or array.dtype != kind.value_type.to_pandas_dtype()
        ):
            found = getattr(array, "dtype", type(array).__name__)
            raise ShardError(f"row {row.id!r}: {what} must be {kind.value_type} [U], got {found}")
    offsets = np.zeros(len(arrays) + 1, np.int32)
    np.cumsum([array.size for array in arrays], out=offsets[1:])
    return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(arrays)), type=kind)


def _to_arrow(rows: list[UnitRow]) -> pa.RecordBatch:
    columns: list[pa.Array] = []
    for field in SCHEMA:
        values: list[Any] = [getattr(row, field.name) for row in rows]
        if pa.types.is_list(field.type):
            columns.append(_lists(values, field.type, field.name, rows))
            continue
        if pa.types.is_string(field.type):
            values = [_text(None if value is None else str(value)) for value in values]
        columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
