"""Lhotse's cuts and Shar folders, written by Lhotse itself and read here without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_audio import write_audio

from spire_dsu.errors import ManifestError, Reason
from spire_dsu.manifest import RecordingReader, open_manifest
from spire_dsu.types import AudioBytes, AudioFile

lhotse = pytest.importorskip("lhotse", reason="the extra `corpora` is not installed")


@pytest.fixture
def cuts(tmp_path: Path) -> Any:
    """Three cuts: a whole recording, a piece of it with two speakers, one channel of two."""
    mono = lhotse.Recording.from_file(write_audio(tmp_path / "audio/mono.flac", 2.0))
    stereo = lhotse.Recording.from_file(write_audio(tmp_path / "audio/stereo.wav", 1.0, 8000, 2))

    def said(name: str, recording: Any, start: float, text: str, speaker: str) -> Any:
        return lhotse.SupervisionSegment(
            name, recording.id, start, 0.25, 0, text=text, language="en", speaker=speaker
        )

    whole = lhotse.MonoCut("whole", 0, 2.0, 0, [said("s0", mono, 0, "all", "ann")], recording=mono)
    parts = [said("s2", mono, 0.3, "second", "bob"), said("s1", mono, 0, "first", "ann")]
    piece = lhotse.MonoCut("piece", 0.5, 1.25, 0, parts, recording=mono)
    right = lhotse.MonoCut("right", 0, 1.0, 1, recording=stereo)
    return lhotse.CutSet.from_cuts([whole, piece, right])


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_cuts(tmp_path: Path, cuts: Any, name: str) -> None:
    cuts.to_file(tmp_path / name)
    whole, piece, right = open_manifest(tmp_path / name)
    assert whole.audio == AudioFile(f"{tmp_path}/audio/mono.flac")
    assert (whole.id, whole.offset, whole.duration, whole.expected) == ("whole", 0.0, None, 2.0)
    assert (whole.text, whole.lang, whole.speaker) == ("all", "en", "ann")
    assert (piece.id, piece.offset, piece.duration, piece.expected) == ("piece", 0.5, 1.25, None)
    assert (piece.text, piece.lang, piece.speaker) == ("first second", "en", None)
    assert (right.channel, right.text, whole.channel) == (1, None, None)


def test_recordings_alone_are_rows_too(tmp_path: Path, cuts: Any) -> None:
    recordings = lhotse.RecordingSet.from_recordings(cut.recording for cut in cuts.subset(first=1))
    recordings.to_file(tmp_path / "recordings.jsonl")
    (row,) = open_manifest(tmp_path / "recordings.jsonl")
    assert (row.id, row.expected, row.channel) == ("mono", 2.0, None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Lhotse's open tar
def test_shar_holds_what_lhotse_reads_from_it(tmp_path: Path, cuts: Any) -> None:
    folder = tmp_path / "shar"
    folder.mkdir()
    cuts.to_shar(folder, fields={"recording": "flac"}, shard_size=2, warn_unused_fields=False)
    rows = list(open_manifest(folder))
    theirs = list(lhotse.CutSet.from_shar(in_dir=folder, shuffle_shards=False))
    assert [row.id for row in rows] == [cut.id for cut in theirs] == ["whole", "piece", "right"]
    assert [row.text for row in rows] == ["all", "first second", None]
    assert rows[2].source == "recording.000001.tar/right.flac"
    with RecordingReader() as reader:
        for row, cut in zip(rows, theirs, strict=True):
            (tmp_path / "one.flac").write_bytes(reader.read(row.audio))
            samples, _ = soundfile.read(tmp_path / "one.flac", dtype="float32", always_2d=True)
            np.testing.assert_array_equal(samples.T, cut.load_audio())
            assert row.expected == pytest.approx(cut.duration)
            # The tar holds only the channel that the cut chose.
            assert (row.offset, row.duration, row.channel) == (0.0, None, None)


def shar(root: Path, members: list[tuple[str, bytes]], *ids: str) -> Path:
    import io
    import tarfile

    with tarfile.open(root / "recording.000000.tar", "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    lines = [json.dumps({"id": name, "start": 0, "duration": 1.0}) + "\n" for name in ids]
    (root / "cuts.000000.jsonl").write_text("".join(lines))
    return root


def test_a_cut_of_a_shar_without_a_recording(tmp_path: Path) -> None:
    members = [("a.nodata", b""), ("a.nometa", b""), ("b.c.flac", b"xy"), ("b.c.json", b"{}")]
    absent, there = open_manifest(shar(tmp_path, members, "a", "b.c"))
    assert (absent.id, absent.problem[0]) == ("a", Reason.MISSING)
    assert there.problem is None
    assert isinstance(there.audio, AudioBytes)
    assert there.audio.size == 2


@pytest.mark.parametrize(
    ("members", "ids", "message"),
    [
        ([("a.flac", b""), ("a.json", b"{}")], ["b"], "cut 'b', but .* has 'a'"),
        ([("a.flac", b""), ("a.json", b"{}")], ["a", "b"], r"recording\.000000\.tar: ends before"),
        ([("a.flac", b""), ("a.json", b"{}")], [], r"cuts\.000000\.jsonl: ends before"),
        ([("a.flac", b""), ("b.json", b"{}")], ["a"], "'a.flac' is not followed by its JSON"),
        ([("a.flac", b"")], ["a"], "'a.flac' is not followed by its JSON"),
    ],
)
def test_a_shar_whose_files_do_not_go_together(
    tmp_path: Path, members: list[tuple[str, bytes]], ids: list[str], message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        open_manifest(shar(tmp_path, members, *ids))


def test_a_shar_that_lacks_a_tar(tmp_path: Path) -> None:
    shar(tmp_path, [("a.flac", b""), ("a.json", b"{}")], "a")
    (tmp_path / "cuts.000001.jsonl").write_text("")
    with pytest.raises(ManifestError, match="shard '000001' lacks"):
        open_manifest(tmp_path)


def cut_line(**changes: Any) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": "a.wav"}
    recording = {"id": "r", "sources": [source], "duration": 2.0}
    recording |= changes.pop("recording", {})
    return {"id": "c", "start": 0, "duration": 2.0, "channel": 0, "recording": recording} | changes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": "m", "type": "MixedCut", "tracks": []}, "MixedCut without a recording"),
        ({"id": "s", "recording_id": "r", "text": "x"}, "a supervision without a recording"),
        (cut_line(id=None), "no id"),
        (cut_line(start="0"), "'start' is '0', not a number"),
        (cut_line(supervisions={"text": "x"}), "not a list of objects"),
        (
            cut_line(recording={"transforms": [{"name": "Speed", "kwargs": {"factor": 1.1}}]}),
            "changed by 'Speed'",
        ),
        (
            cut_line(
                recording={"sources": [{"type": "command", "channels": [0], "source": "rm x"}]}
            ),
            "type 'command'; only files are read, nothing is run",
        ),
        (
            cut_line(
                recording={"sources": [{"type": "url", "channels": [0], "source": "http://x"}]}
            ),
            "type 'url'",
        ),
        (cut_line(channel=3), r"channels \[3\] are in 0 files"),
    ],
)
def test_what_cannot_be_done_to_a_recording_is_refused(
    tmp_path: Path, line: dict[str, Any], message: str
) -> None:
    path = tmp_path / "cuts.jsonl"
    path.write_text(json.dumps(cut_line()) + "\n" + json.dumps(line | {"n": 1}) + "\n")
    with pytest.raises(ManifestError, match=rf"cuts\.jsonl:2: .*{message}"):
        open_manifest(path)


def test_resampling_is_harmless(tmp_path: Path) -> None:
    line = cut_line(recording={"transforms": [{"name": "Resample"}]})
    (tmp_path / "cuts.jsonl").write_text(json.dumps(line) + "\n")
    assert next(iter(open_manifest(tmp_path / "cuts.jsonl"))).expected == 2.0
