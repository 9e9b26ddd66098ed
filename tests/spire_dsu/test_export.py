"""Exports hold the shards' units, in the words of those who read them."""

from __future__ import annotations

import json
import shutil
import struct
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from unit_rows import CLUSTERS, convert, make_rows, tree

from spire_dsu.errors import Reason
from spire_dsu.export import (
    ExportError,
    check_megatron,
    export_jsonl,
    export_km,
    export_megatron,
    export_text,
)
from spire_dsu.shards import ShardError, seal
from spire_dsu.types import Units

ROWS = make_rows(40)
OK = [row for row in ROWS if row.status is Reason.OK]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("units")
    convert(out, ROWS)
    return out


@pytest.fixture(scope="module")
def megatron() -> types.ModuleType:
    """Megatron-core's own reader and builder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("megatron.core.datasets.indexed_dataset")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # its builder's
@pytest.mark.parametrize(
    ("first", "vocabulary", "end", "dtype"),
    [
        (32005, 37056, None, np.uint16),
        (32005, 37056, 2, np.uint16),
        (32005, 65499, None, np.uint16),
        (32005, 65500, None, np.int32),
        (128256, None, 128001, np.int32),
        (65449, None, None, np.uint16),
        (65450, None, None, np.int32),
        (0, None, None, np.uint16),
    ],
)
def test_megatron_files_are_those_of_its_own_builder(
    folder: Path,
    tmp_path: Path,
    megatron: types.ModuleType,
    first: int,
    vocabulary: int | None,
    end: int | None,
    dtype: type,
) -> None:
    import torch

    prefix = tmp_path / "ours"
    done = export_megatron(
        folder, prefix, first_unit_token=first, vocab_size=vocabulary, end_token=end
    )
    size = vocabulary or max(first + CLUSTERS, (end or 0) + 1)
    assert megatron.DType.optimal_dtype(size) is dtype
    builder = megatron.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype)
    for row in OK:
        tokens = [*(row.units.astype(int) + first), *([] if end is None else [end])]
        builder.add_document(torch.tensor(tokens), [len(tokens)])
    builder.finalize(str(tmp_path / "theirs.idx"))
    for suffix in ("bin", "idx"):
        theirs = (tmp_path / f"theirs.{suffix}").read_bytes()
        assert (tmp_path / f"ours.{suffix}").read_bytes() == theirs
    dataset = megatron.IndexedDataset(str(prefix))
    assert len(dataset) == len(OK) == done.rows
    for row, tokens in zip(OK, dataset, strict=True):
        assert tokens.dtype == dtype
        units = tokens.astype(int)[: row.units.size] - first
        assert units.tolist() == row.units.tolist()
    assert done.units == sum(row.units.size for row in OK) + (end is not None) * len(OK)
    assert sum(done.left_out.values()) == len(ROWS) - len(OK)
    assert [path.name for path in done.files] == ["ours.bin", "ours.idx", "ours.json"]


def test_a_conversion_without_units_is_an_empty_dataset(tmp_path: Path) -> None:
    bad = [row for row in ROWS if row.status is not Reason.OK]
    convert(tmp_path / "units", bad)
    done = export_megatron(tmp_path / "units", tmp_path / "x", first_unit_token=7)
    assert (done.rows, done.units) == (0, 0)
    assert (tmp_path / "x.bin").read_bytes() == b""
    assert check_megatron(tmp_path / "x")["rows"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_unit_token": -1}, "negative token"),
        ({"first_unit_token": 1, "end_token": -2}, "negative token"),
        ({"first_unit_token": 100, "vocab_size": 149}, "149 has no room for token 149"),
        ({"first_unit_token": 0, "vocab_size": 60, "end_token": 60}, "no room for token 60"),
        ({"first_unit_token": 2**31 - 10}, "no room"),
    ],
)
def test_tokens_that_fit_no_vocabulary_are_refused(
    folder: Path, tmp_path: Path, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        export_megatron(folder, tmp_path / "x", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_megatron_export_is_checked_before_it_is_trained_on(folder: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "x"
    export_megatron(folder, prefix, first_unit_token=100)
    note = check_megatron(prefix)
    assert note["options"]["dtype"] == "uint16"
    assert note["fingerprint"]["num_clusters"] == CLUSTERS
    assert note["units"] == sum(row.units.size for row in OK)
    good = {path: path.read_bytes() for path in tmp_path.iterdir()}
    rng = np.random.default_rng(0)
    for path, data in good.items():
        for bad in (data[:-1], data + b"\0", b"", None):
            path.unlink()
            if bad is not None:
                path.write_bytes(bad)
            with pytest.raises(ExportError, match=r"x\.(bin|idx|json)"):
                check_megatron(prefix)
            path.write_bytes(data)
        for _ in range(20):
            flipped = bytearray(data)
            flipped[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
            path.write_bytes(flipped)
            with pytest.raises(ExportError):
                check_megatron(prefix)
        path.write_bytes(data)
    assert check_megatron(prefix) == note


def rewritten(prefix: Path, suffix: str, data: bytes) -> None:
    """Changes a file and, as a careful forger would, its digest in the note."""
    import hashlib

    path = prefix.with_name(f"{prefix.name}.{suffix}")
    path.write_bytes(data)
    note = json.loads(prefix.with_suffix(".json").read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    note["files"][path.name] = {"bytes": len(data), "sha256": digest}
    del note["digest"]
    prefix.with_suffix(".json").write_bytes(seal(note))


def test_an_index_that_does_not_fit_is_refused_whatever_its_digest(
    folder: Path, tmp_path: Path
) -> None:
    prefix = tmp_path / "x"
    export_megatron(folder, prefix, first_unit_token=100)
    index, tokens = (tmp_path / "x.idx").read_bytes(), (tmp_path / "x.bin").read_bytes()
    count = struct.unpack_from("<Q", index, 18)[0]
    short = struct.pack("<i", struct.unpack_from("<i", index, 34)[0] - 1)
    cases = [
        ("idx", b"X" + index[1:], "not an index"),
        ("idx", index[:17] + b"\7" + index[18:], "not an index"),
        ("idx", index[:33], "only 33 bytes"),
        ("idx", index[:-8], "bytes, not"),
        ("idx", index[:34] + short + index[38:], "lengths"),
        ("idx", index[: 34 + 4 * count] + b"\1" + index[35 + 4 * count :], "pointers"),
        ("bin", tokens[:-2] + struct.pack("<H", 150), "outside of 100 to 149"),
        ("bin", struct.pack("<H", 99) + tokens[2:], "outside of 100 to 149"),
        ("bin", tokens + tokens[:2], "lengths"),
    ]
    for suffix, data, message in cases:
        rewritten(prefix, suffix, data)
        with pytest.raises(ExportError, match=message):
            check_megatron(prefix)
        rewritten(prefix, suffix, index if suffix == "idx" else tokens)
    assert check_megatron(prefix)["rows"] == count


def test_a_note_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    export_km(folder, tmp_path / "x")
    half = {"format": "spire-dsu-export", "version": 1, "to": "megatron"}
    for data in (None, b"[]", b"{}", b"no", seal({}), seal({**half, "to": "km"}), seal(half)):
        if data is not None:
            (tmp_path / "x.json").write_bytes(data)
        with pytest.raises(ExportError, match=r"x\.json"):
            check_megatron(tmp_path / "x")


def test_km_is_a_line_of_units_per_utterance(folder: Path, tmp_path: Path) -> None:
    done = export_km(folder, tmp_path / "a.km")
    lines = (tmp_path / "a.km").read_text().split("\n")
    assert lines == [*(" ".join(map(str, row.units)) for row in OK), ""]
    ids = (tmp_path / "a.km.ids.jsonl").read_text().split("\n")
    assert [json.loads(line) for line in ids[:-1]] == [row.id for row in OK]
    assert (done.rows, done.units) == (len(OK), sum(row.units.size for row in OK))
    assert sum(done.left_out.values()) == len(ROWS) - len(OK)


def test_km_with_a_unit_per_frame(folder: Path, tmp_path: Path) -> None:
    done = export_km(folder, tmp_path / "a.km", frames=True, ids=False)
    lines = (tmp_path / "a.km").read_text().splitlines()
    assert lines == [" ".join(map(str, np.repeat(row.units, row.durations))) for row in OK]
    assert done.units == sum(row.num_frames for row in OK)
    assert not (tmp_path / "a.km.ids.jsonl").exists()


@pytest.mark.parametrize("form", ["extra_id", "pua"])
@pytest.mark.parametrize("frames", [True, False])
def test_text_is_that_of_the_units(folder: Path, tmp_path: Path, form: str, frames: bool) -> None:
    export_text(folder, tmp_path / "a.txt", form=form, frames=frames)
    lines = (tmp_path / "a.txt").read_text().split("\n")
    for row, line in zip(OK, lines[:-1], strict=True):
        ids = np.repeat(row.units, row.durations) if frames else row.units
        units = Units(ids.astype(np.int32), np.ones(ids.size, np.int32))
        assert line == units.to_text(form)


def test_a_form_that_is_none_or_too_small_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="unknown text form 'latin'"):
        export_text(folder, tmp_path / "a", form="latin")
    convert(tmp_path / "many", make_rows(4), fingerprint={"num_clusters": 65_535})
    with pytest.raises(ExportError, match="unit 65534 has no private-use character"):
        export_text(tmp_path / "many", tmp_path / "a", form="pua")
    convert(tmp_path / "fits", make_rows(4), fingerprint={"num_clusters": 65_534})
    assert export_text(tmp_path / "fits", tmp_path / "a", form="pua").rows == 3


def test_json_lines_hold_every_row(tmp_path: Path) -> None:
    import dataclasses

    odd = dataclasses.replace(ROWS[3], offset=float("nan"), duration=float("inf"))
    rows = [*ROWS[:3], odd, *ROWS[4:]]
    convert(tmp_path / "units", rows)
    done = export_jsonl(tmp_path / "units", tmp_path / "a.jsonl")
    assert (done.rows, done.left_out) == (len(rows), {})
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().split("\n")[:-1]]
    for row, line in zip(rows, lines, strict=True):
        assert line["id"] == row.id
        assert line["status"] == str(row.status)
        assert line["units"] == row.units.tolist()
        assert line["durations"] == row.durations.tolist()
        assert line["text"] == row.text
    assert (lines[3]["offset"], lines[3]["duration"]) == (None, None)


def all_exports(folder: Path, out: Path) -> None:
    export_megatron(folder, out / "m", first_unit_token=5, end_token=1)
    export_km(folder, out / "a.km")
    export_text(folder, out / "a.txt")
    export_jsonl(folder, out / "a.jsonl")


def test_exports_are_the_same_bytes_each_time_and_say_where_they_come_from(
    folder: Path, tmp_path: Path
) -> None:
    all_exports(folder, tmp_path / "a" / "new")
    shutil.copytree(folder, tmp_path / "copy")
    all_exports(tmp_path / "copy", tmp_path / "b")
    all_exports(tmp_path / "copy", tmp_path / "b")
    assert tree(tmp_path / "a" / "new") == tree(tmp_path / "b")
    for name in ("m.json", "a.km.json", "a.txt.json", "a.jsonl.json"):
        note = json.loads((tmp_path / "b" / name).read_bytes())
        assert note["manifest"] == tree(folder)["manifest.json"]
        for file, about in note["files"].items():
            assert about["sha256"] == tree(tmp_path / "b")[file]


def test_a_damaged_shard_is_never_exported_and_no_old_note_stays(
    folder: Path, tmp_path: Path
) -> None:
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(folder, copy)
    all_exports(copy, out)
    path = copy / "units-00002.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    before = tree(out)
    for export in (
        lambda: export_megatron(copy, out / "m", first_unit_token=5),
        lambda: export_km(copy, out / "a.km"),
        lambda: export_text(copy, out / "a.txt"),
        lambda: export_jsonl(copy, out / "a.jsonl"),
    ):
        with pytest.raises(ShardError, match=r"units-00002\.parquet"):
            export()
    left = {"m.bin", "a.km", "a.txt", "a.jsonl"}
    assert tree(out) == {name: before[name] for name in left}
    with pytest.raises(ExportError):
        check_megatron(out / "m")
