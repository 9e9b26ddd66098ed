"""Hostile names and manifests: rows with their reasons, or one error that says where it is."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from math import inf, nan
from pathlib import Path

import pytest

from spire_dsu.errors import ManifestError, Reason
from spire_dsu.manifest import open_manifest
from spire_dsu.types import AudioBytes, Utterance

# --- names ---

NAMES = {
    "not UTF-8": os.fsdecode(b"na\xefve \xff\xfe.wav"),
    "newline": "two\nlines.wav",
    "carriage return": "over\rwritten.wav",
    "tab": "a\tb.wav",
    "255 bytes": "x" * 251 + ".wav",
    "emoji": "\U0001f600.wav",
    "right to left": "\u202egnp.exe.wav",
    "line separator": "a\u2028b.wav",
    "leading dash": "-rf.wav",
    "tilde": "~.wav",
    "dollar": "$(touch x);`touch x`.wav",
    "quotes": "\"'\\.wav",
    "space at the end": "a.wav .wav",
    "only an extension": ".wav",
    "escape sequence": "\x1b[31m.wav",
    "what another name is escaped to": "na\\xefve \\xff\\xfe.wav",
    "case-fold twin": "TWIN.wav",
    "its twin": "twin.wav",
    "composed": "\u00e9.wav",
    "decomposed": "e\u0301.wav",
}


def check(rows: list[Utterance]) -> None:
    """What every row must be able to do: be named once, be stored as UTF-8, be looked for."""
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.id
        for text in (row.id, row.source, row.text, row.lang, row.speaker):
            (text or "").encode()
        if row.problem is None:
            os.fsencode(row.audio.path)


def test_files_of_hostile_names_in_a_folder(tmp_path: Path) -> None:
    for name in NAMES.values():
        (tmp_path / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    rows = list(open_manifest(tmp_path))
    check(rows)
    assert sorted(Path(row.audio.path).name for row in rows) == sorted(NAMES.values())
    for row in rows:
        assert Path(row.audio.path).read_bytes() == os.fsencode(Path(row.audio.path).name)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_hostile_name_in_json_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio_filepath": name}) + "\n")
    rows = list(open_manifest(tmp_path / "m.jsonl"))
    check(rows)
    assert Path(rows[0].audio.path).read_bytes() == b"x"


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, id=k) for k, n in NAMES.items() if "\n" not in n and not n.endswith("\r")],
)
def test_a_hostile_name_in_a_tsv_and_in_kaldi(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    raw = os.fsencode(name)
    (tmp_path / "m.tsv").write_bytes(os.fsencode(tmp_path) + b"\n" + raw + b"\t16000\n")
    (tmp_path / "wav.scp").write_bytes(b"u1 " + raw + b"\n")
    for manifest in (tmp_path / "m.tsv", tmp_path / "wav.scp"):
        rows = list(open_manifest(manifest))
        check(rows)
        assert Path(rows[0].audio.path).read_bytes() == b"x"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nul\0.wav", Reason.MISSING),
        ("\ud800.wav", Reason.MISSING),  # a lone surrogate that stands for no byte
        ("", Reason.MISSING),
        ("../../../../etc/passwd", None),
        ("/etc/passwd", None),
        ("~/a.wav", None),
        ("s3://bucket/a.wav", None),
        ("http://nowhere.invalid/a.wav", None),
        ("pipe:touch x", None),
        ("touch x |", None),
        ("x" * 300 + ".wav", None),
        ("a/" * 3000 + "b.wav", None),
    ],
)
def test_a_path_is_only_a_path(tmp_path: Path, path: str, problem: Reason | None) -> None:
    """Nothing is expanded, fetched or run; what cannot be a file has its reason already."""
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": path, "text": "\udfff", "id": "u"}) + "\n")
    (row,) = open_manifest(manifest)
    assert (row.problem and row.problem[0]) == problem
    if problem is None:
        assert row.audio.path == os.path.join(tmp_path, path)  # noqa: PTH118 - Path would tidy it
    check([row])


def test_a_row_that_has_no_name_at_all(tmp_path: Path) -> None:
    lines = ['{"audio_filepath": ""}', '{"audio_filepath": "a.wav", "id": "row-1"}']
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    first, second = open_manifest(tmp_path / "m.jsonl")
    assert (first.id, second.id) == ("row-1#2", "row-1")
    assert first.problem == (Reason.MISSING, "no file can be named ''")


def test_ids_are_any_text(tmp_path: Path) -> None:
    ids = ["../../etc/x", "/abs", "a\nb", "a\tb", "\0", " ", "\ud800", "-", "." * 5000, "a", "A"]
    lines = [json.dumps({"audio_filepath": "a.wav", "id": name}) + "\n" for name in ids]
    (tmp_path / "m.jsonl").write_text("".join(lines))
    rows = list(open_manifest(tmp_path / "m.jsonl", work=tmp_path / "out"))
    check(rows)
    assert [row.id for row in rows] == [n if n != "\ud800" else "\\ud800" for n in ids]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.jsonl", "out"]


# --- broken lines ---

BROKEN = {
    "cut off": b'{"audio_filepath": "a.w',
    "not an object": b'"a.wav"',
    "an array": b'["a.wav"]',
    "two objects": b'{"audio_filepath": "a.wav"} {"audio_filepath": "b.wav"}',
    "single quotes": b"{'audio_filepath': 'a.wav'}",
    "trailing comma": b'{"audio_filepath": "a.wav",}',
    "not JSON": b"a.wav\t16000",
    "not UTF-8": b'{"audio_filepath": "\xff.wav"}',
    "a raw tab in text": b'{"audio_filepath": "a.wav", "text": "a\tb"}',
    "a NUL byte": b'{"audio_filepath": "a.wav"}\0',
    "zeros": b"\0" * 100,
    "nested deeply": b'{"audio_filepath": ' + b"[" * 200_000,
    "a number of 5,000 digits": b'{"audio_filepath": "a.wav", "duration": ' + b"9" * 5000 + b"}",
    "a path that is a number": b'{"audio_filepath": 1.5}',
    "a path that is an object": b'{"audio_filepath": {"a": 1}}',
    "a path that is true": b'{"audio_filepath": true}',
    "no path": b'{"text": "hello"}',
    "a null path": b'{"audio_filepath": null}',
    "a duration that is text": b'{"audio_filepath": "a.wav", "duration": "3.5"}',
    "an offset that is a list": b'{"audio_filepath": "a.wav", "offset": [1]}',
    "an offset that is true": b'{"audio_filepath": "a.wav", "offset": true}',
    "a text that is a list": b'{"audio_filepath": "a.wav", "text": ["a"]}',
    "an id that is an object": b'{"audio_filepath": "a.wav", "id": {}}',
    "an id that is a fraction": b'{"audio_filepath": "a.wav", "id": 1.5}',
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"audio_filepath": "ok.wav"}\r\n\r\n' + line + b"\n")
    with pytest.raises(ManifestError, match=r"m\.jsonl:3: ") as caught:
        open_manifest(path, work=tmp_path / "out")
    assert len(str(caught.value)) < 1000
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"audio_filepath": "a.wav"}\n{"audio_filepath": "b.wav"}\n',
        b'{"audio_filepath": "a.wav"}\r\n{"audio_filepath": "b.wav"}\r\n',
        b'\n\n{"audio_filepath": "a.wav"}\n   \n\t\n{"audio_filepath": "b.wav"}',
        b'  {"audio_filepath": "a.wav"}  \n{"audio_filepath": "b.wav"}\n\n',
        b'{"audio_filepath": "a.wav", "x": {"y": [1]}, "z": null}\n{"audio_filepath": "b.wav"}\n',
        b'{"audio_filepath": "no", "audio_filepath": "a.wav"}\n{"audio_filepath": "b.wav"}\n',
    ],
    ids=["BOM", "CRLF", "blank lines", "spaces", "extra columns", "a key twice"],
)
def test_strange_but_whole_files_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.jsonl").write_bytes(content)
    assert [row.id for row in open_manifest(tmp_path / "m.jsonl")] == ["a", "b"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "m.jsonl").write_bytes('{"audio_filepath": "a.wav"}\n'.encode(encoding))
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: not UTF-8"):
        open_manifest(tmp_path / "m.jsonl")


# --- times ---

TIMES = {
    "negative duration": {"duration": -1},
    "NaN duration": {"duration": nan},
    "infinite duration": {"duration": inf},
    "no duration": {"duration": 0},
    "negative offset": {"offset": -0.5, "duration": 1},
    "NaN offset": {"offset": nan, "duration": 1},
    "infinite offset": {"offset": inf},
    "1e999": {"offset": 1e308 * 10, "duration": 1},
    "negative duration of a piece": {"offset": 0, "duration": -3},
    "a whole number of 400 digits": {"offset": 10**400},
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
def test_times_that_mean_nothing_are_the_reason_of_their_row(
    tmp_path: Path, times: dict[str, float]
) -> None:
    rows = [{"audio_filepath": "a.wav"} | times, {"audio_filepath": "b.wav", "duration": 1}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad, good = open_manifest(tmp_path / "m.jsonl")
    assert bad.problem is not None
    assert bad.problem[0] == Reason.BAD_SEGMENT
    assert (bad.offset, bad.duration, bad.expected) == (0.0, None, None)
    assert (good.problem, good.expected) == (None, 1.0)


@pytest.mark.parametrize("samples", ["-1", "0", "9" * 30, "9" * 5000])
def test_samples_that_mean_nothing(tmp_path: Path, samples: str) -> None:
    (tmp_path / "m.tsv").write_text(f"/data\na.wav\t{samples}\nb.wav\t16000\n")
    bad, good = open_manifest(tmp_path / "m.tsv")
    assert bad.problem is not None
    assert (bad.problem[0], good.problem) == (Reason.BAD_SEGMENT, None)


@pytest.mark.parametrize(
    "times", ["-1 2", "nan 2", "0 inf", "1e400 2", "2 1", "1 1", "1_0 20", "a b"]
)
def test_kaldi_times_that_mean_nothing(tmp_path: Path, times: str) -> None:
    (tmp_path / "wav.scp").write_text("r a.wav\n")
    (tmp_path / "segments").write_text(f"u1 r {times}\nu2 r 0 1\n")
    bad, good = open_manifest(tmp_path)
    assert bad.problem is not None
    assert (bad.problem[0], good.problem) == (Reason.BAD_SEGMENT, None)


# --- sizes ---


def peak_megabytes(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["m.jsonl", "m.tsv"])
def test_a_line_of_a_gigabyte_is_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b'{"audio_filepath": "')
        file.truncate(1 << 30)  # a hole: the file takes no space

    def refuse() -> None:
        with pytest.raises(ManifestError, match=rf"{name}:1: a line of over 16777216 bytes"):
            open_manifest(path)

    assert peak_megabytes(refuse) < 60


def test_a_gzip_bomb_is_a_line_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(b" " * (1 << 20))

    def refuse() -> None:
        with pytest.raises(ManifestError, match=r"m\.jsonl\.gz:1: a line of over"):
            open_manifest(path)

    assert peak_megabytes(refuse) < 60


# --- what is no file ---


@pytest.mark.parametrize("form", ["jsonl", "tsv", "webdataset", "parquet", "lhotse"])
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path, form: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "loop", tmp_path / "folder"):
        with pytest.raises(ManifestError):
            open_manifest(path, form=form)


def test_a_pipe_and_a_loop_among_recordings_are_rows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "a.wav").touch()
    assert [row.id for row in open_manifest(tmp_path)] == ["a", "loop", "pipe"]


# --- commands ---


def test_nothing_in_a_manifest_is_ever_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "wav.scp").write_text(f"u touch {trap} |\n")
    source = {"type": "command", "channels": [0], "source": f"touch {trap}"}
    cut = {"id": "c", "recording": {"id": "r", "sources": [source]}}
    (tmp_path / "cuts.jsonl").write_text(json.dumps(cut) + "\n")
    for name in ("wav.scp", "cuts.jsonl"):
        with pytest.raises(ManifestError, match=f"{name}:1: .*run"):
            open_manifest(tmp_path / name)
    assert not trap.exists()


# --- tars ---


def member(name: str = "a.wav", data: bytes = b"x" * 700, **header: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in header.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + data + b"\0" * (-len(data) % 512)


def sealed(block: bytearray) -> bytes:
    """A header with its checksum made right again."""
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block[:512]):06o}\0 ".encode()
    return bytes(block)


def with_size(field: bytes) -> bytes:
    block = bytearray(member())
    block[124:136] = field
    return sealed(block)


END = b"\0" * 1024
TARS = {
    "empty": (b"", "cut off at byte 0"),
    "no tar": (b"hello" * 300, "no tar, or damaged, at byte 0"),
    "gzip": (gzip.compress(member() + END), "a compressed tar"),
    "cut off in a header": (member()[:300], "cut off at byte 0"),
    "cut off in a member": (member()[:600], "cut off in 'a.wav': 88 of 700 bytes"),
    "no end mark": (member(), "cut off at byte 1536: the end mark is missing"),
    "two joined": (member() + END + member("b.wav") + END, "more behind its end mark"),
    "a size of a terabyte": (
        with_size(b"\x80" + (1 << 40).to_bytes(11, "big")) + END,
        "cut off in",
    ),
    "a negative size": (with_size(b"\xff" * 12) + END, "a size of -1 at byte 0"),
    "a size that is text": (with_size(b"many samples") + END, "a size of None at byte 0"),
    "a wrong checksum": (member().replace(b"a.wav", b"b.wav", 1) + END, "damaged, at byte 0"),
    "damage in the second": (member() + b"\1" * 512 + END, "damaged, at byte 1536"),
    "a link": (member(data=b"", type=tarfile.SYMTYPE, linkname="/etc/passwd") + END, "is a link"),
    "a hard link": (member(data=b"", type=tarfile.LNKTYPE, linkname="b") + END, "is a link"),
    "a device": (member(data=b"", type=tarfile.CHRTYPE) + END, "is of type b'3'"),
    "sparse": (member(type=tarfile.GNUTYPE_SPARSE) + END, "is of type b'S'"),
    "sparse by pax": (member("p", b"25 GNU.sparse.major=1.0\n\n", type=b"x") + END, "is sparse"),
    "pax without a length": (member("p", b"path=a.wav\n", type=b"x") + END, "damaged pax header"),
    "pax of length 0": (member("p", b"0 path=a.wav\n", type=b"x") + END, "damaged pax header"),
    "pax beyond its end": (member("p", b"99 path=a\n", type=b"x") + END, "damaged pax header"),
    "a pax size that is text": (member("p", b"11 size=-1\n", type=b"x") + END, "a size of b'-1'"),
    "a long name of 2 MiB": (member("n", b"y" * (2 << 20), type=b"L") + END, "a header of 2097152"),
    "two recordings in a sample": (member("a.wav") + member("a.x.flac") + END, "are one sample"),
    "JSON that is none": (member("a.json", b"{") + END, "'a.json': no JSON"),
    "JSON that is a list": (member("a.json", b"[]") + END, "'a.json' is not a JSON object"),
    "text of 2 MiB": (member("a.txt", b"y" * (2 << 20)) + END, "2097152 bytes of text"),
    "the same key twice": (
        member("a.wav") + member("b.txt") + member("a.wav") + END,
        "duplicate id",
    ),
}


@pytest.mark.parametrize(("content", "message"), TARS.values(), ids=TARS.keys())
def test_a_hostile_tar(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.tar").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        open_manifest(tmp_path / "t.tar", work=tmp_path / "out")


def test_a_name_in_a_tar_is_no_path(tmp_path: Path) -> None:
    names = ["../../etc/x.wav", "/etc/y.wav", "-.wav", os.fsdecode(b"\xff.wav"), ".wav"]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    (tmp_path / "t.tar").write_bytes(archive.getvalue())
    rows = list(open_manifest(tmp_path / "t.tar"))
    check(rows)
    assert [row.id for row in rows[:3]] == ["../../etc/x", "/etc/y", "-"]
    assert all(isinstance(row.audio, AudioBytes) for row in rows)
    assert {row.audio.path for row in rows} == {str(tmp_path / "t.tar")}


def test_every_cut_of_a_tar_is_found(tmp_path: Path) -> None:
    whole = member("a.flac") + member("a.txt", b"text") + member("b.flac", b"y" * 40) + END
    for keep in range(0, len(whole) - 512, 37):
        (tmp_path / "t.tar").write_bytes(whole[:keep])
        with pytest.raises(ManifestError):
            open_manifest(tmp_path / "t.tar")
