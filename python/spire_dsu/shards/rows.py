"""What a row of a shard is: its columns, and the rules that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spire_dsu.errors import Reason, SpireError
from spire_dsu.types import Int64, UInt16, UInt32, UnitRow


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


SCHEMA = pa.schema(
    [
        _required("id", pa.string()),
        _required("status", pa.string()),
        _required("units", pa.list_(_required("element", pa.uint16()))),
        _required("durations", pa.list_(_required("element", pa.uint32()))),
        _required("num_samples", pa.int64()),
        _required("num_frames", pa.int64()),
        pa.field("text", pa.string()),
        pa.field("lang", pa.string()),
        pa.field("speaker", pa.string()),
        _required("source", pa.string()),
        _required("offset", pa.float64()),
        pa.field("duration", pa.float64()),
    ]
)
STATUSES = frozenset(str(reason) for reason in Reason)


class ShardError(SpireError):
    """A shard, or the manifest that lists it, is not what it should be. The text names the file."""


@dataclass(frozen=True, slots=True, eq=False)
class UnitBatch:
    """Consecutive rows of a shard (a Parquet row group), with their units in one array.

    Attributes:
        table: all columns, as Arrow.
        shard: the shard's number.
        units: uint16 [U], the units of all rows, one after another; read-only.
        durations: uint32 [U], frames of each unit; read-only.
        row_splits: int64 [N + 1]; row n is units[row_splits[n]:row_splits[n + 1]].
    """

    table: pa.RecordBatch
    shard: int
    units: UInt16
    durations: UInt32
    row_splits: Int64

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> list[Any]:
        """One column as Python values."""
        values: list[Any] = self.table.column(name).to_pylist()
        return values

    def numbers(self, name: str) -> Int64:
        """int64 [N]: a column of integers."""
        return np.asarray(self.table.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)

    @property
    def ok(self) -> Any:
        """bool [N]: which rows are ok."""
        return is_ok(self.table.column("status"))

    def status(self, row: int) -> str:
        """The status of one row of the batch."""
        return str(self.table.column("status")[row])

    def statuses(self) -> dict[str, int]:
        """How many rows have which status."""
        pairs = self.table.column("status").value_counts().to_pylist()
        return {pair["values"]: pair["counts"] for pair in pairs}

    def rows(self) -> Iterator[UnitRow]:
        """The rows one by one."""
        rest = [name for name in SCHEMA.names if name not in ("status", "units", "durations")]
        columns = [self.column(name) for name in ("status", *rest)]
        bounds = self.row_splits.tolist()
        for n, (status, *values) in enumerate(zip(*columns, strict=True)):
            part = slice(bounds[n], bounds[n + 1])
            yield UnitRow(
                status=Reason(status),
                units=self.units[part],
                durations=self.durations[part],
                **dict(zip(rest, values, strict=True)),
            )


def check(table: pa.RecordBatch, shard: int, clusters: int, name: str) -> UnitBatch:
    """Checks that rows agree with themselves, before they are written and after they are read.

    Args:
        table: rows in the columns of `SCHEMA`.
        shard: the shard's number.
        clusters: K; every unit is below it.
        name: how an error calls the shard.

    Raises:
        ShardError: names the first row that is wrong, by its place in the batch and its id.
    """
    units, row_splits = _flat(table.column("units"))
    durations, duration_splits = _flat(table.column("durations"))
    frames = np.asarray(table.column("num_frames"))
    samples = np.asarray(table.column("num_samples"))
    status = table.column("status")
    ok = is_ok(status)
    totals = np.concatenate([[0], np.cumsum(durations, dtype=np.int64)])
    sizes = np.diff(row_splits)

    def refuse(bad_N: Any, what: str) -> None:
        if np.any(bad_N):
            row = int(np.argmax(bad_N))
            raise ShardError(f"{name}: row {row} (id {table.column('id')[row].as_py()!r}): {what}")

    if not STATUSES.issuperset(status.unique().to_pylist()):
        refuse([value not in STATUSES for value in status.to_pylist()], "unknown status")
    refuse(sizes != np.diff(duration_splits), "units and durations differ in length")
    refuse(~ok & ((sizes > 0) | (frames != 0)), "units although the status is not ok")
    refuse(samples < 0, "a negative number of samples")
    refuse(np.diff(totals[row_splits]) != frames, "the durations do not add up to num_frames")
    _refuse_units(units >= clusters, row_splits, refuse, f"a unit of {clusters} or more")
    _refuse_units(durations == 0, row_splits, refuse, "a unit that lasts no frame")
    repeated = np.zeros(units.size, bool)
    repeated[1:] = units[1:] == units[:-1]
    repeated[row_splits[:-1][sizes > 0]] = False  # nothing stands before a row's first unit
    _refuse_units(repeated, row_splits, refuse, "one unit twice in a row, not merged")
    return UnitBatch(table, shard, units, durations, row_splits)


def _refuse_units(bad_U: Any, row_splits: Int64, refuse: Any, what: str) -> None:
    """Names the row of the first bad unit."""
    if bad_U.any():
        row = int(np.searchsorted(row_splits, int(np.argmax(bad_U)), side="right")) - 1
        refuse(np.arange(row_splits.size - 1) == row, what)


def is_ok(status: pa.StringArray) -> Any:
    """bool [N]: which rows are ok."""
    return pc.equal(status, Reason.OK.value).to_numpy(zero_copy_only=False)


def _flat(column: pa.ListArray) -> tuple[Any, Int64]:
    """The values of a list column in one array, and the row splits that go with it."""
    splits = np.asarray(column.offsets, dtype=np.int64)
    return column.flatten().to_numpy(), splits - splits[0]
