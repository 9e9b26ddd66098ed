"""Shards: the same rows are the same bytes, and no byte that is not right is ever yielded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_rows import CLUSTERS, FINGERPRINT, convert, make_rows, row_of_frames, same, tree

from spire_dsu.errors import Reason, SpireError
from spire_dsu.export import export_jsonl
from spire_dsu.shards import (
    MANIFEST,
    SCHEMA,
    OutputManifest,
    ShardError,
    num_clusters,
    open_shards,
    parse_shard,
    seal,
    shard_name,
    unseal,
    write_shard,
    writer,
)
from spire_dsu.types import UnitRow
from spire_dsu.verify import verify

COLUMNS = [
    *("id", "status", "units", "durations", "num_samples", "num_frames"),
    *("text", "lang", "speaker", "source", "offset", "duration"),
]


def one(**changes: object) -> UnitRow:
    """A good row, or one that differs from it."""
    return dataclasses.replace(row_of_frames([3, 3, 5], id="x"), **changes)


def units(*values: int) -> np.ndarray:
    return np.array(values, np.uint16)


def durations(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = make_rows(40)
    assert {row.status for row in rows} > {Reason.OK, Reason.TOO_SHORT, Reason.DECODE_ERROR}
    convert(tmp_path, rows)
    shards = open_shards(tmp_path)
    assert len(shards) == 40
    assert shards.num_clusters == CLUSTERS
    assert all(same(*pair) for pair in zip(shards, rows, strict=True))


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    rows = make_rows(20)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name, 0, iter(rows), FINGERPRINT)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_what_is_known_of_a_shard_is_what_it_holds(tmp_path: Path) -> None:
    rows = make_rows(30)
    info = write_shard(tmp_path, 7, rows, FINGERPRINT)
    assert info.file == "units-00007.parquet"
    assert info.bytes == (tmp_path / info.file).stat().st_size
    assert info.sha256 == tree(tmp_path)[info.file]
    assert info.rows == 30
    assert sum(info.counts.values()) == 30
    assert info.counts["ok"] == sum(row.status is Reason.OK for row in rows)
    assert info.units == sum(row.units.size for row in rows)
    assert info.frames == sum(row.num_frames for row in rows)
    assert info.samples == sum(row.num_samples for row in rows if row.status is Reason.OK)
    assert info.hours == pytest.approx(info.samples / 57_600_000)


def test_any_parquet_reader_takes_it(tmp_path: Path) -> None:
    rows = make_rows(12)
    write_shard(tmp_path, 0, rows, FINGERPRINT)
    table = pq.read_table(tmp_path / shard_name(0), page_checksum_verification=True)
    assert table.column_names == COLUMNS == SCHEMA.names
    assert table.schema.field("units").type.value_type == pa.uint16()
    assert table.schema.field("durations").type.value_type == pa.uint32()
    assert table.column("units").to_pylist() == [row.units.tolist() for row in rows]
    assert table.column("status").to_pylist() == [str(row.status) for row in rows]
    about = json.loads(pq.read_metadata(tmp_path / shard_name(0)).metadata[b"spire_dsu"])
    assert about == {"version": 1, "shard": 0, "fingerprint": FINGERPRINT}


def test_row_groups_end_by_rows_and_by_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GROUP_ROWS", 4)
    monkeypatch.setattr(writer, "GROUP_WEIGHT", 20)
    rows = [row_of_frames([1, 2], id=str(k)) for k in range(10)]
    rows[1] = row_of_frames(np.arange(30) % 7, id="long")
    convert(tmp_path, rows, rows_per_shard=10)
    metadata = pq.read_metadata(tmp_path / shard_name(0))
    groups = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    assert groups == [2, 4, 4]
    assert [len(batch) for batch in open_shards(tmp_path).batches()] == groups
    assert all(same(*pair) for pair in zip(open_shards(tmp_path), rows, strict=True))


def test_a_batch_is_flat_arrays_and_row_splits(tmp_path: Path) -> None:
    none = one(id="none", status=Reason.MISSING, units=units(), durations=durations(), num_frames=0)
    convert(tmp_path, [one(), none, row_of_frames([4], id="y")])
    (batch,) = open_shards(tmp_path).batches()
    assert batch.units.tolist() == [3, 5, 4]
    assert batch.durations.tolist() == [2, 1, 1]
    assert batch.row_splits.tolist() == [0, 2, 2, 3]
    assert batch.column("id") == ["x", "none", "y"]
    assert batch.numbers("num_frames").tolist() == [3, 0, 1]


def test_shards_can_be_divided_among_readers(tmp_path: Path) -> None:
    rows = make_rows(32)
    convert(tmp_path, rows)
    found = [row.id for batch in open_shards(tmp_path).batches([3, 1]) for row in batch.rows()]
    assert found == [row.id for row in [*rows[24:32], *rows[8:16]]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (one(units=units(3, 50)), "a unit of 50 or more"),
        (one(units=units(3, 3)), "not merged"),
        (one(durations=durations(2, 0), num_frames=2), "lasts no frame"),
        (one(num_frames=4), "do not add up"),
        (one(durations=durations(3)), "differ in length"),
        (one(status=Reason.TIMEOUT), "the status is not ok"),
        (one(status=Reason.EMPTY, units=units(), durations=durations()), "the status is not ok"),
        (one(num_samples=-1), "negative number of samples"),
        (one(units=np.array([3, 5])), r"units must be uint16 \[U\], got int64"),
        (one(durations=np.array([[2, 1]], np.uint32)), r"durations must be uint32 \[U\]"),
        (one(units=[3, 5]), "got list"),
        (one(status="nonsense"), "unknown status"),
    ],
)
def test_a_row_that_contradicts_itself_is_not_written(
    tmp_path: Path, bad: UnitRow, message: str
) -> None:
    good = row_of_frames([1, 2], id="good")
    with pytest.raises(ShardError, match=message) as error:
        write_shard(tmp_path, 0, [good, bad], FINGERPRINT)
    assert "'x'" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_equal_neighbours_in_different_rows_are_no_error(tmp_path: Path) -> None:
    rows = [row_of_frames([4], id="a"), row_of_frames([4, 4], id="b")]
    assert write_shard(tmp_path, 0, rows, FINGERPRINT).units == 2


def test_an_error_of_the_rows_themselves_leaves_nothing(tmp_path: Path) -> None:
    def broken():
        yield one()
        raise KeyError("decoder")

    with pytest.raises(KeyError, match="decoder"):
        write_shard(tmp_path, 0, broken(), FINGERPRINT)
    with pytest.raises(ShardError, match="at least one row"):
        write_shard(tmp_path, 0, [], FINGERPRINT)
    assert list(tmp_path.iterdir()) == []


def test_half_a_surrogate_pair_is_escaped(tmp_path: Path) -> None:
    convert(tmp_path, [one(text="a\ud800b")])
    assert next(iter(open_shards(tmp_path))).text == "a\\ud800b"


def test_a_run_of_an_hour_of_silence_fits(tmp_path: Path) -> None:
    convert(tmp_path, [one(units=units(0), durations=durations(180_000), num_frames=180_000)])
    assert next(iter(open_shards(tmp_path))).durations.tolist() == [180_000]


@pytest.mark.parametrize("value", [None, 0, -1, 65_537, 5.0, "5", True])
def test_the_number_of_clusters_is_part_of_every_fingerprint(tmp_path: Path, value: object) -> None:
    with pytest.raises(ShardError, match="num_clusters"):
        write_shard(tmp_path, 0, [one()], {"num_clusters": value})
    assert num_clusters({"num_clusters": 65_536}) == 65_536


def test_nothing_is_read_before_the_conversion_is_finished(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(20), limit=1)
    with pytest.raises(ShardError, match="is the conversion finished"):
        open_shards(tmp_path)


def test_a_missing_a_cut_and_a_changed_shard_yield_nothing(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(24))
    path = tmp_path / shard_name(1)
    data = path.read_bytes()
    for bad in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], data + b"x", b""):
        path.write_bytes(bad)
        with pytest.raises(ShardError, match=r"units-00001\.parquet: damaged"):
            next(open_shards(tmp_path).batches([1]))
    path.unlink()
    with pytest.raises(ShardError, match=r"units-00001\.parquet: not a readable"):
        next(open_shards(tmp_path).batches([1]))
    path.mkdir()
    with pytest.raises(ShardError, match=r"units-00001\.parquet: not a readable"):
        next(open_shards(tmp_path).batches([1]))


def test_two_shards_that_changed_places_are_found(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(16))
    shards = open_shards(tmp_path)
    first, second = shards.manifest.shards
    data = (tmp_path / second.file).read_bytes()
    lie = first.model_copy(update={"sha256": second.sha256, "bytes": second.bytes})
    with pytest.raises(ShardError, match="another place"):
        next(parse_shard(data, lie, shards.manifest.fingerprint))
    with pytest.raises(ShardError, match="another conversion"):
        next(parse_shard(data, second, {**shards.manifest.fingerprint, "model": "other"}))


def written(tmp_path: Path, table: pa.Table, **changes: object) -> list[object]:
    """Reads a hostile Parquet file whose digest is right: who made it also made the manifest."""
    info = write_shard(tmp_path, 0, [one()], FINGERPRINT)
    about = pq.read_metadata(tmp_path / info.file).metadata
    pq.write_table(table.replace_schema_metadata(about), tmp_path / "bad.parquet")
    info = info.model_copy(update=changes)
    return list(parse_shard((tmp_path / "bad.parquet").read_bytes(), info, FINGERPRINT))


def test_hostile_tables_raise_documented_errors(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, [one()], FINGERPRINT)
    good = pq.read_table(tmp_path / shard_name(0))
    assert written(tmp_path, good)

    def changed(name: str, values: object) -> pa.Table:
        place = SCHEMA.get_field_index(name)
        return good.set_column(place, SCHEMA.field(name), pa.array(values, SCHEMA.field(name).type))

    cases = [
        (good.drop_columns("text"), "other columns", {}),
        (good.rename_columns(["di", *COLUMNS[1:]]), "other columns", {}),
        (good.set_column(4, "num_samples", pa.array([1.5])), "other columns", {}),
        (pa.concat_tables([good, good]), "holds 2 rows, not 1", {}),
        (good.slice(0, 0), "holds 0 rows", {}),
        (changed("status", ["fine"]), "unknown status", {}),
        (changed("units", [[49, 50]]), "a unit of 50 or more", {}),
        (changed("units", [[1, 2, 3, 4, 5, 6]]), "differ in length", {}),
        (changed("durations", [[2**32 - 1, 2**32 - 1]]), "do not add up", {}),
        (changed("num_frames", [2**62]), "do not add up", {}),
        (good, "not those that are listed", {"frames": 4}),
        (good, "not those that are listed", {"units": 3}),
    ]
    for table, message, changes in cases:
        with pytest.raises(ShardError, match=message):
            written(tmp_path, table, **changes)


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, [one()], FINGERPRINT)
    good = pq.read_table(tmp_path / shard_name(0))
    raw = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    with pytest.raises(ShardError, match="not a readable shard"):
        written(tmp_path, good.set_column(9, SCHEMA.field("source"), raw))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[]", b"null", b"\xff", b'{"totals":1,"digest":2}', b"[" * 100_000),
        b'{"totals":1,"digest":2,"num_rows":1e999}',
    ],
)
def test_a_manifest_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ShardError, match=r"manifest\.json is damaged"):
        OutputManifest.from_bytes(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_rows": 17},
        {"rows_per_shard": 9},
        {"shards": ()},
        {"num_rows": 8},
    ],
)
def test_a_manifest_whose_rows_do_not_add_up_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    manifest = convert(tmp_path, make_rows(16))
    with pytest.raises(ShardError, match=r"manifest\.json"):
        OutputManifest.from_bytes(manifest.model_copy(update=changes).to_bytes())
    content = unseal(manifest.to_bytes())
    content["totals"]["units"] += 1
    with pytest.raises(ShardError, match="totals are not those"):
        OutputManifest.from_bytes(seal(content))


def test_a_manifest_is_canonical_and_carries_no_time(tmp_path: Path) -> None:
    manifest = convert(tmp_path, make_rows(20))
    data = (tmp_path / MANIFEST).read_bytes()
    assert OutputManifest.from_bytes(data) == manifest
    content = json.loads(data)
    assert list(content) == sorted(content)
    assert content["totals"]["rows"] == 20
    assert sum(content["totals"]["counts"].values()) == 20
    for spelling in (json.dumps(content).encode(), data + b"\n", data.replace(b": ", b":")):
        with pytest.raises(ShardError, match="does not fit its digest"):
            OutputManifest.from_bytes(spelling)


def test_shards_of_format_1_are_read_for_ever(tmp_path: Path) -> None:
    folder = Path(__file__).resolve().parents[1] / "golden" / "shards-v1"
    assert verify(folder).ok
    export_jsonl(folder, tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == (folder / "rows.jsonl").read_bytes()


def test_the_errors_are_value_errors() -> None:
    assert issubclass(ShardError, SpireError)
    assert issubclass(ShardError, ValueError)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.lists(st.lists(st.integers(0, CLUSTERS - 1), min_size=1, max_size=30), min_size=1),
    text=st.none() | st.text(),
    start=st.floats(allow_nan=False),
)
def test_any_frames_and_text_come_back(tmp_path_factory, frames, text, start) -> None:
    folder = tmp_path_factory.mktemp("shard")
    rows = [row_of_frames(f, id=str(k), text=text, offset=start) for k, f in enumerate(frames)]
    convert(folder, rows, rows_per_shard=5)
    read = list(open_shards(folder))
    assert all(same(*pair) for pair in zip(read, rows, strict=True))
    assert [np.repeat(row.units, row.durations).tolist() for row in read] == frames
