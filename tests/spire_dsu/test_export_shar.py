"""Lhotse reads the units with its cuts."""

from __future__ import annotations

import gzip
import json
import tarfile
import types
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from unit_rows import convert, make_rows, row_of_frames, tree

from spire_dsu.errors import Reason
from spire_dsu.export import ExportError, export_shar
from spire_dsu.shards import ShardError
from spire_dsu.types import UnitRow

# Lhotse's reader leaves closing its files to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
ROWS = [
    row
    for row in make_rows(60)
    if row.id.startswith(("utterance", "-dash", "\U0001f600")) or row.status is not Reason.OK
]
ROWS = [row for row in ROWS if "\0" not in row.id and ".." not in row.id]
OK = [row for row in ROWS if row.status is Reason.OK]


@pytest.fixture(scope="module")
def lhotse() -> types.ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("lhotse")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("units")
    convert(out, ROWS, rows_per_shard=12)
    return out


def write_cuts(folder: Path, rows: Sequence[UnitRow], per_file: int, packed: bool) -> None:
    """A Shar folder of cuts, as another tool made it."""
    folder.mkdir()
    for number, start in enumerate(range(0, len(rows), per_file)):
        lines = [
            json.dumps(
                {
                    "id": row.id,
                    "start": 0,
                    "duration": row.num_frames * 0.02 + 0.005 or 0.01,
                    "channel": 0,
                    "type": "MonoCut",
                }
            )
            for row in rows[start : start + per_file]
        ]
        data = "".join(f"{line}\n" for line in lines).encode()
        name = f"cuts.{number:06d}.jsonl"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)


def test_cuts_of_their_own_when_there_are_none(
    folder: Path, tmp_path: Path, lhotse: types.ModuleType
) -> None:
    done = export_shar(folder, tmp_path / "shar")
    assert done.rows == len(OK)
    assert sum(done.left_out.values()) == len(ROWS) - len(OK)
    cuts = list(lhotse.CutSet.from_shar(in_dir=tmp_path / "shar"))
    for row, cut in zip(OK, cuts, strict=True):
        assert cut.id == row.id
        assert cut.duration == row.num_samples / 16_000
        assert cut.supervisions[0].text == row.text
        assert cut.supervisions[0].speaker == row.speaker
        assert cut.load_units().tolist() == row.units.tolist()
        assert cut.load_units_durations().tolist() == row.durations.tolist()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("frames", [True, False])
def test_a_field_beside_cuts_that_are_there(
    folder: Path, tmp_path: Path, lhotse: types.ModuleType, packed: bool, frames: bool
) -> None:
    shar = tmp_path / "shar"
    write_cuts(shar, ROWS, 9, packed)
    done = export_shar(folder, shar, cuts=shar, field="dsu", frames=frames)
    assert (done.rows, done.left_out) == (len(ROWS), {})
    assert len(list(shar.glob("dsu.*.tar"))) == len(list(shar.glob("cuts.*"))) == -(-len(ROWS) // 9)
    for row, cut in zip(ROWS, lhotse.CutSet.from_shar(in_dir=shar), strict=True):
        assert cut.id == row.id
        if row.status is not Reason.OK:
            assert not cut.has_custom("dsu")
        elif frames:
            assert cut.load_dsu().tolist() == np.repeat(row.units, row.durations).tolist()
        else:
            assert cut.load_dsu().tolist() == row.units.tolist()


def test_units_per_frame_are_cut_along_with_the_audio(
    tmp_path: Path, lhotse: types.ModuleType
) -> None:
    frames = np.arange(200) // 3 % 50
    convert(tmp_path / "units", [row_of_frames(frames, id="a")])
    export_shar(tmp_path / "units", tmp_path / "shar", frames=True)
    (cut,) = lhotse.CutSet.from_shar(in_dir=tmp_path / "shar")
    cut.recording = lhotse.Recording("a", [], 16_000, int(cut.duration * 16_000), cut.duration)
    piece = cut.truncate(offset=1.0, duration=2.0)
    assert piece.load_units().tolist() == frames[50:150].tolist()


def test_the_same_bytes_each_time(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_shar(folder, tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    with tarfile.open(tmp_path / "a" / "units.000000.tar") as tar:
        assert {(member.mtime, member.uid, member.gid, member.mode) for member in tar} == {
            (0, 0, 0, 0o644)
        }


@pytest.mark.parametrize("change", ["order", "less", "more", "other"])
def test_cuts_of_another_corpus_are_refused_and_nothing_stays(
    folder: Path, tmp_path: Path, change: str
) -> None:
    rows = {
        "order": [*ROWS[:10], ROWS[11], ROWS[10], *ROWS[12:]],
        "less": ROWS[:-1],
        "more": [*ROWS, row_of_frames([1], id="new")],
        "other": [*ROWS[:-1], row_of_frames([1], id="new")],
    }[change]
    write_cuts(tmp_path / "cuts", rows, 9, packed=True)
    with pytest.raises(ExportError, match=r"cut '|no cut for row"):
        export_shar(folder, tmp_path / "out", cuts=tmp_path / "cuts")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("data", [b"no json\n", b"{}\n", b"[1]\n", b"\xff\n"])
def test_cuts_that_are_none_are_refused(folder: Path, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ExportError, match="no cuts"):
        export_shar(folder, tmp_path / "out", cuts=tmp_path)
    (tmp_path / "cuts.000000.jsonl").write_bytes(data)
    with pytest.raises(ExportError, match="not cuts"):
        export_shar(folder, tmp_path / "out", cuts=tmp_path)
    (tmp_path / "cuts.000000.jsonl").unlink()
    (tmp_path / "cuts.000000.jsonl.gz").write_bytes(data)
    with pytest.raises(ExportError, match="not cuts"):
        export_shar(folder, tmp_path / "out", cuts=tmp_path)


@pytest.mark.parametrize(
    "name", ["../../etc/x", "/etc/passwd", "a//b", "./a", "", "a/..", "nul\0", "a/"]
)
def test_an_id_that_would_leave_the_folder_names_no_entry(tmp_path: Path, name: str) -> None:
    convert(tmp_path / "units", [row_of_frames([1, 2], id="fine"), row_of_frames([1], id=name)])
    with pytest.raises(ExportError, match="cannot name an entry of a tar"):
        export_shar(tmp_path / "units", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("field", ["cuts", "", "a.b", "../x", "a b"])
def test_a_field_is_an_attribute(folder: Path, tmp_path: Path, field: str) -> None:
    with pytest.raises(ExportError, match="name of a field"):
        export_shar(folder, tmp_path / "out", field=field)


def test_a_damaged_shard_leaves_no_tars(folder: Path, tmp_path: Path) -> None:
    convert(tmp_path / "units", ROWS, rows_per_shard=12)
    path = tmp_path / "units" / "units-00001.parquet"
    path.write_bytes(path.read_bytes()[1:])
    with pytest.raises(ShardError, match=path.name):
        export_shar(tmp_path / "units", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
