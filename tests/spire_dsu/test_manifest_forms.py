"""Each form of a manifest: what its rows say, and what it refuses."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from tiny_audio import encoded

from spire_dsu.errors import ManifestError, Reason
from spire_dsu.manifest import derive_ids, open_manifest
from spire_dsu.types import AudioBytes, AudioFile


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def ids(path: Path, **options: object) -> list[str]:
    return [row.id for row in open_manifest(path, **options)]


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# --- a folder ---


def test_a_folder_is_sorted_by_the_bytes_of_whole_paths(tmp_path: Path) -> None:
    names = ["b/1.wav", "a/2.flac", "a.wav", "a/10.mp3", "a-b/1.ogg", "B.opus", "c/d/e/f.WAV"]
    touch(tmp_path, *names, "notes.txt", "a/list.json")
    rows = list(open_manifest(tmp_path))
    assert [row.source for row in rows] == sorted(names, key=os.fsencode)
    assert [row.audio for row in rows] == [AudioFile(str(tmp_path / row.source)) for row in rows]
    assert {(row.offset, row.duration, row.text, row.problem) for row in rows} == {
        (0.0, None, None, None)
    }


def test_ids_of_a_folder_are_those_of_the_paths(tmp_path: Path) -> None:
    names = ["x/a.wav", "x/a.flac", "x/b.wav", "y/b.wav", "y/.flac", "y/b.c.wav", "a.wav.wav"]
    touch(tmp_path, *names)
    rows = list(open_manifest(tmp_path))
    assert [row.id for row in rows] == derive_ids([row.source for row in rows])


def test_a_file_and_a_twin_with_two_extensions_keep_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.flac", "a.wav.wav")
    found = ids(tmp_path)
    assert sorted(found) == ["a.flac", "a.wav", "a.wav.wav"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.wav")
    (tmp_path / "again").symlink_to("real")
    (tmp_path / "real" / "loop").symlink_to("..")
    (tmp_path / "gone.wav").symlink_to("nowhere")
    assert ids(tmp_path) == ["again/a", "gone", "real/a"]


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "readme.txt")
    with pytest.raises(ManifestError, match="no recording"):
        open_manifest(tmp_path)


def test_a_folder_of_two_kinds_asks_which_is_meant(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.tar")
    with pytest.raises(ManifestError, match=r"b\.tar, a\.wav.*which form"):
        open_manifest(tmp_path)
    assert ids(tmp_path, form="folder") == ["a"]


# --- fairseq's .tsv ---


def test_tsv(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(f"{tmp_path}/audio\nspk/a.flac\t16000\nspk/b.flac\t800\n")
    first, second = open_manifest(path)
    assert first.audio == AudioFile(f"{tmp_path}/audio/spk/a.flac")
    assert (first.id, first.source, first.expected) == ("spk/a", "spk/a.flac", 1.0)
    assert (second.id, second.expected, second.duration) == ("spk/b", 0.05, None)


def test_the_root_of_a_tsv_starts_from_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("audio\na.wav\t5\n")
    assert next(iter(open_manifest(path))).audio == AudioFile(f"{tmp_path}/audio/a.wav")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("path\tsentence\na.wav\thello\n", r"train\.tsv:1: .*not fairseq's form"),
        ("/data\na.wav 16000\n", r"train\.tsv:2: 'a\.wav 16000'"),
        ("/data\na.wav\tmany\n", r"train\.tsv:2"),
        ("/data\n\na.wav\t1.5\n", r"train\.tsv:3"),
        ("/data\n", "no recording"),
    ],
)
def test_a_broken_tsv_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        open_manifest(path)


# --- JSON lines ---


def test_jsonl_with_all_of_nemos_names(tmp_path: Path) -> None:
    row = {
        "audio_filepath": "audio/call.wav",
        "offset": 1.5,
        "duration": 2,
        "text": "gr\u00fc\u00df dich",
        "lang": "de",
        "speaker": 7,
        "id": "c-1",
        "pred_text": "passed over",
    }
    (item,) = open_manifest(jsonl(tmp_path / "m.jsonl", row))
    assert item.audio == AudioFile(f"{tmp_path}/audio/call.wav")
    assert (item.id, item.source) == ("c-1", "audio/call.wav")
    assert (item.offset, item.duration, item.expected) == (1.5, 2.0, None)
    assert (item.text, item.lang, item.speaker) == ("gr\u00fc\u00df dich", "de", "7")
    assert (item.problem, item.extra) == (None, ())


def test_without_an_offset_the_duration_is_only_expected(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.json", {"audio_filepath": "/x/a.wav", "duration": 2.5})
    (item,) = open_manifest(path)
    assert (item.offset, item.duration, item.expected) == (0.0, None, 2.5)
    assert (item.id, item.audio) == ("x/a", AudioFile("/x/a.wav"))


def test_missing_ids_are_derived_and_unique(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "m.jsonl",
        {"audio_filepath": "a/1.wav"},
        {"audio_filepath": "a/1.flac"},
        {"audio_filepath": "b.wav"},
        {"audio_filepath": "b.wav", "text": "another transcript"},
        {"audio_filepath": "c.wav", "offset": 0},
        {"audio_filepath": "c.wav", "offset": 1.25, "duration": 0.5},
        {"audio_filepath": "c.wav", "offset": 1.25, "duration": 0.5},
        {"audio_filepath": "d.wav"},
        {"audio_filepath": "e.wav", "id": "d"},
        {"audio_filepath": "e.wav", "id": "b#2"},
        {"audio_filepath": "./f.wav", "id": ""},
    )
    assert ids(path) == [
        *("a/1.wav", "a/1.flac", "b", "b#3", "c@0.000", "c@1.250+0.500", "c@1.250+0.500#2"),
        *("d.wav", "d", "b#2", "f"),
    ]


def test_a_duplicate_id_names_both_rows(tmp_path: Path) -> None:
    rows = [{"audio_filepath": f"{n}.wav", "id": f"u{n % 2000}"} for n in range(2001)]
    with pytest.raises(
        ManifestError, match=r"duplicate id 'u0': row 1 \(0\.wav\) and row 2001 \(2000\.wav\)"
    ):
        open_manifest(jsonl(tmp_path / "m.jsonl", *rows))


def test_columns_of_other_names_and_columns_to_keep(tmp_path: Path) -> None:
    row = {"path": "a.wav", "sentence": "hello", "translation": "hallo", "votes": 3, "no": None}
    (item,) = open_manifest(
        jsonl(tmp_path / "m.jsonl", row),
        columns={"audio": "path", "text": "sentence"},
        keep=("translation", "votes", "no", "absent"),
    )
    assert item.text == "hello"
    assert item.extra == (("translation", "hallo"), ("votes", "3"))


def test_jsonl_under_gzip(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"audio_filepath": "a.wav"}\n'))
    assert ids(path) == ["a"]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ManifestError, match=r"m\.jsonl\.gz:\d: cannot be read on"):
        open_manifest(path)


# --- a Kaldi folder ---


def kaldi(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / name.replace("wav_scp", "wav.scp")).write_text(text)
    return root


def test_kaldi_without_segments(tmp_path: Path) -> None:
    kaldi(
        tmp_path,
        wav_scp="s2-u1 wav/2.wav\ns1-u1 /abs/with space.wav\n",
        text="s1-u1 HELLO  WORLD\ns2-u1\n",
        utt2spk="s1-u1 s1\ns2-u1 s2\n",
        utt2lang="s1-u1 en\n",
    )
    first, second = open_manifest(tmp_path)
    assert (first.id, first.text, first.speaker, first.lang) == ("s2-u1", "", "s2", None)
    assert first.audio == AudioFile(f"{tmp_path}/wav/2.wav")
    assert (second.id, second.text, second.speaker) == ("s1-u1", "HELLO  WORLD", "s1")
    assert (second.lang, second.audio) == ("en", AudioFile("/abs/with space.wav"))


def test_kaldi_with_segments(tmp_path: Path) -> None:
    kaldi(
        tmp_path,
        wav_scp="rec long.wav\n",
        segments="u2 rec 1.5 3.25\nu1 rec 0 -1\nu3 rec 1 2 1\n"
        "u4 none 0 1\nu5 rec 3 2\nu6 rec nan 2\n",
        text="u1 yes\nnobody's text\n",
    )
    rows = {row.id: row for row in open_manifest(tmp_path / "wav.scp")}
    assert list(rows) == ["u2", "u1", "u3", "u4", "u5", "u6"]
    assert (rows["u2"].offset, rows["u2"].duration, rows["u2"].text) == (1.5, 1.75, None)
    assert (rows["u1"].offset, rows["u1"].duration, rows["u1"].text) == (0.0, None, "yes")
    assert (rows["u3"].channel, rows["u2"].channel) == (1, None)
    reasons = [row.problem and row.problem[0] for row in rows.values()]
    assert reasons == [None, None, None, Reason.MISSING, Reason.BAD_SEGMENT, Reason.BAD_SEGMENT]
    assert "'none'" in rows["u4"].problem[1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"wav_scp": "u sph2pipe -f wav x.sph |\n"}, r"wav\.scp:1: .*is a command"),
        ({"wav_scp": "u1 a.wav\nu2\n"}, r"wav\.scp:2: 'u2' has no path"),
        ({"wav_scp": "u a.wav\nv b.wav\nu c.wav\n"}, r"duplicate id 'u': row 1 .* and row 3"),
        (
            {"wav_scp": "r a.wav\nr b.wav\n", "segments": "u r 0 1\n"},
            r"wav\.scp: lines 1 and 2 are both 'r'",
        ),
        ({"wav_scp": "r a.wav\n", "segments": "u r 0\n"}, r"segments:1: 'r 0'"),
        ({"wav_scp": "u a.wav\n", "text": "u x\n\nu y\n"}, r"text: lines 1 and 3 are both 'u'"),
    ],
)
def test_a_broken_kaldi_folder(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        open_manifest(kaldi(tmp_path, **files))


# --- WebDataset ---


def tar(path: Path, *members: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def bytes_of(reference: AudioBytes) -> bytes:
    whole = Path(reference.path).read_bytes()
    return whole[reference.start : reference.start + reference.size]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_webdataset_samples_are_ranges_of_bytes(tmp_path: Path, form: int) -> None:
    first, second = encoded("flac"), encoded("wav", 0.3)
    folder = "d" * 90 + "/" + ("e" * 120 if form != tarfile.USTAR_FORMAT else "e")
    path = tar(
        tmp_path / "data.tar",
        ("a.json", b'{"text": "from json", "lang": "en", "speaker": 3, "more": 1}'),
        ("a.flac", first),
        (f"{folder}/b.wav", second),
        (f"{folder}/b.txt", "gr\u00fc\u00df\n".encode()),
        form=form,
    )
    one, two = open_manifest(path)
    assert (one.id, one.text, one.lang, one.speaker) == ("a", "from json", "en", "3")
    assert (one.source, bytes_of(one.audio)) == ("data.tar/a.flac", first)
    assert (two.id, two.text, bytes_of(two.audio)) == (f"{folder}/b", "gr\u00fc\u00df", second)


def test_keys_that_start_again_in_each_tar(tmp_path: Path) -> None:
    for shard in ("1.tar", "0.tar", "in/0.tar"):
        (tmp_path / "in").mkdir(exist_ok=True)
        tar(tmp_path / shard, ("000.wav", b"x"), ("001.wav", b"y"))
    expected = ["0/000", "0/001", "1/000", "1/001", "in/0/000", "in/0/001"]
    assert ids(tmp_path) == expected


def test_a_sample_without_audio_is_a_row_with_its_reason(tmp_path: Path) -> None:
    path = tar(tmp_path / "d.tar", ("a.txt", b"only text"), ("b.wav", b"x"))
    one, two = open_manifest(path)
    assert (one.id, one.text, one.problem[0]) == ("a", "only text", Reason.MISSING)
    assert two.problem is None


# --- which form ---


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", b"", "a recording; a manifest lists"),
        ("a.csv", b"x", "no known form by its name"),
        ("a.json", b'[{"audio_filepath": "a.wav"}]', "a JSON array"),
        ("a.tar.gz", b"\x1f\x8b", "a compressed tar"),
    ],
)
def test_what_is_no_manifest_is_told_so(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        open_manifest(tmp_path / name)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.jsonl: no such file"):
        open_manifest(tmp_path / "none.jsonl")


def test_the_form_can_be_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.txt", {"audio_filepath": "a.wav"})
    assert ids(path, form="jsonl") == ["a"]
    with pytest.raises(ManifestError, match="unknown form 'nemo'"):
        open_manifest(path, form="nemo")
    with pytest.raises(ManifestError, match="not in folder"):
        open_manifest(tmp_path, form="folder", keep=("x",))
