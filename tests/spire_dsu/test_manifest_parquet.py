"""Parquet with the recordings inside, and how a reference becomes a recording's bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_audio import encoded

from spire_dsu.errors import AudioError, ManifestError, Reason
from spire_dsu.manifest import RecordingReader, open_manifest
from spire_dsu.types import AudioBytes, AudioCell, AudioFile, AudioRef

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(path: Path, cells: list[Any], *, groups: int = 2, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"audio": pa.array(cells, type=AUDIO)} | {k: pa.array(v) for k, v in columns.items()}
    pq.write_table(pa.table(data), path, row_group_size=groups)
    return path


def cell(name: str | None, data: bytes | None = b"x") -> dict[str, Any]:
    return {"bytes": data, "path": name}


def test_a_table_of_the_hub(tmp_path: Path) -> None:
    sounds = [encoded("flac", 0.1 + n / 100) for n in range(5)]
    path = table(
        tmp_path / "train.parquet",
        [cell(f"clip {n}.flac", sound) for n, sound in enumerate(sounds)],
        id=[f"u{n}" for n in range(5)],
        sentence=["a", None, "c", "d", "e"],
        speaker=[1, 2, 3, 4, 5],
        votes=[7, 7, 7, 7, None],
    )
    manifest = open_manifest(path, columns={"text": "sentence"}, keep=("votes",))
    rows = list(manifest)
    assert [row.id for row in rows] == ["u0", "u1", "u2", "u3", "u4"]
    assert [row.text for row in rows] == ["a", None, "c", "d", "e"]
    assert (rows[0].speaker, rows[0].extra, rows[4].extra) == ("1", (("votes", "7"),), ())
    assert rows[3].audio == AudioCell(str(path), 1, 1)
    assert rows[3].source == "train/3:clip 3.flac"
    with RecordingReader() as reader:
        for order in ([0, 1, 2, 3, 4], [4, 2, 3, 0, 0]):  # in order, and not
            assert [reader.read(rows[n].audio) for n in order] == [sounds[n] for n in order]


def test_a_folder_of_tables_and_ids_that_nobody_gave(tmp_path: Path) -> None:
    table(tmp_path / "data/b.parquet", [cell("1.wav"), cell("2.wav"), cell(None)])
    table(tmp_path / "data/a.parquet", [cell("1.wav"), cell("3.wav")])
    rows = list(open_manifest(tmp_path, form="parquet"))
    assert [row.id for row in rows] == ["data/a/0", "3", "data/b/0", "2", "data/b/2"]
    assert open_manifest(tmp_path / "data").form == "parquet"


def test_a_plain_column_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"wav": pa.array([b"abc", b"de"], pa.large_binary())}), path)
    rows = list(open_manifest(path, columns={"audio": "wav"}))
    assert [row.id for row in rows] == ["plain/0", "plain/1"]
    with RecordingReader() as reader:
        assert [reader.read(row.audio) for row in rows] == [b"abc", b"de"]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text": ["a"]}, {}, r"no column \['audio'\] among \['text'\]"),
        ({"audio": ["a.wav"]}, {}, "column 'audio' is string, not a recording's bytes"),
        ({"audio": [b"x"], "text": [1.5]}, {}, "row 0: 'text' is '1.5', not text"),
        ({"audio": [b"x"]}, {"columns": {"text": "words"}}, r"no column \['words'\]"),
        ({"audio": [b"x"]}, {"keep": ("votes",)}, r"no column \['votes'\]"),
        ({"audio": [b"x"]}, {"columns": {"offset": "x"}}, r"no column \['offset'\] here"),
        ({"audio": [b"x", b"y"], "id": ["u", "u"]}, {}, "duplicate id 'u': row 1 .* and row 2"),
    ],
)
def test_tables_of_another_form(
    tmp_path: Path, columns: dict[str, list[Any]], options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ManifestError, match=message):
        open_manifest(path, **options)


@pytest.mark.parametrize("keep", [0, 3, 100, -9])
def test_a_table_that_is_cut_off(tmp_path: Path, keep: int) -> None:
    path = table(tmp_path / "t.parquet", [cell("a.wav")])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ManifestError, match=r"t\.parquet: no Parquet"):
        open_manifest(path)


def reason_of(reference: AudioRef, **options: Any) -> Reason:
    with RecordingReader(**options) as reader, pytest.raises(AudioError) as caught:
        reader.read(reference)
    return caught.value.reason


def test_cells_without_bytes(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", [cell("in/a.wav", None), cell(None, None)])
    with RecordingReader() as reader:
        assert reader.read(AudioCell(str(path), 0, 0)) == f"{tmp_path}/in/a.wav"
    assert reason_of(AudioCell(str(path), 0, 1)) == Reason.MISSING


def test_references_that_lead_nowhere(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", [cell("a.wav", b"long enough")])
    (tmp_path / "t.tar").write_bytes(b"0123456789")
    assert reason_of(AudioCell(str(path), 5, 0)) == Reason.DECODE_ERROR
    assert reason_of(AudioCell(str(path), 0, 5)) == Reason.DECODE_ERROR
    assert reason_of(AudioCell(f"{tmp_path}/gone.parquet", 0, 0)) == Reason.MISSING
    assert reason_of(AudioBytes(f"{tmp_path}/gone.tar", 0, 1)) == Reason.MISSING
    assert reason_of(AudioBytes(f"{tmp_path}/t.tar", 5, 6)) == Reason.TRUNCATED
    assert reason_of(AudioBytes(f"{tmp_path}/t.tar", 0, 6), max_bytes=5) == Reason.TOO_LONG
    assert reason_of(AudioCell(str(path), 0, 0), max_bytes=5) == Reason.TOO_LONG


def test_a_damaged_page_is_the_reason_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    values = [bytes([n]) * 5000 for n in range(4)]
    rows = pa.table({"audio": values})
    pq.write_table(rows, path, row_group_size=2, compression="gzip", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[40:60] = b"\xff" * 20
    path.write_bytes(data)
    assert reason_of(AudioCell(str(path), 0, 0)) == Reason.DECODE_ERROR
    with RecordingReader() as reader:
        with pytest.raises(AudioError):
            reader.read(AudioCell(str(path), 0, 1))
        assert reader.read(AudioCell(str(path), 1, 0)) == values[2]


def test_a_file_of_its_own_is_its_path() -> None:
    with RecordingReader() as reader:
        assert reader.read(AudioFile("/data/a.wav")) == "/data/a.wav"
