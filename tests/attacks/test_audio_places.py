"""Paths that are no recording, names that break terminals, and content that is not what its name
says.
"""

from __future__ import annotations

import faulthandler
import io
import os
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from audio_makers import encode, pcm16, voice, wav

from spire_dsu.audio import read_audio
from spire_dsu.audio.source import open_source
from spire_dsu.errors import AudioError, Reason

SOUND = voice(0.1)
WAV = wav(pcm16(SOUND))

NAMES = {
    "newline": b"a\nb.wav",
    "tab": b"a\tb.wav",
    "no UTF-8": b"na\xefve\xff.wav",
    "255 bytes": b"x" * 251 + b".wav",
    "emoji": "\U0001f399.wav".encode(),
    "right to left": "\u202e\u05d0gpj.wav".encode(),
    "leading dash": b"-rf.wav",
    "tilde": b"~",
    "dollar": b"$HOME;`id`.wav",
    "quotes": b"a'\"b.wav",
    "only an extension": b".flac",
    "no extension": b"recording",
    "another extension": b"recording.mp3",
    "escape codes": b"\x1b[31mred\x1b[0m.wav",
    "percent": b"%s%n%x.wav",
}


def reason(source: object) -> Reason:
    with pytest.raises(AudioError) as caught:
        read_audio(source)
    return caught.value.reason


@pytest.fixture(autouse=True)
def _never_hangs() -> Iterator[None]:
    """Ends the whole run, loudly, where opening something would wait for ever."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(name: str, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), NAMES[name])  # noqa: PTH118  # bytes
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(descriptor, WAV)
    os.close(descriptor)
    assert read_audio(os.fsdecode(path)).size == SOUND.size
    assert read_audio(Path(os.fsdecode(path))).size == SOUND.size


@pytest.mark.parametrize("name", NAMES)
def test_the_message_is_one_plain_line(name: str, tmp_path: Path) -> None:
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), NAMES[name]))  # noqa: PTH118
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert caught.value.reason is Reason.MISSING
    assert str(caught.value).isprintable()
    assert str(caught.value).encode("utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "\0",
        "a\0b.wav",
        "\ud800.wav",
        "x" * 256,
        "a/" * 3_000,
        "../../../../etc/x",
        "~root/a.wav",
    ],
    ids=["empty", "NUL", "inner NUL", "surrogate", "256 bytes", "deep", "upwards", "home"],
)
def test_a_path_of_nothing(path: str) -> None:
    assert reason(path) is Reason.MISSING


def test_a_directory_and_a_file_below_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(WAV)
    assert reason(tmp_path) is Reason.MISSING
    assert reason(file / "b.wav") is Reason.MISSING


def test_a_fifo_without_a_writer(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.wav"
    os.mkfifo(fifo)
    assert reason(fifo) is Reason.MISSING


def test_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert reason(tmp_path / "s") is Reason.MISSING


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom", "/dev/full"])
def test_a_device(device: str) -> None:
    assert reason(device) is Reason.MISSING


def test_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "talk.wav").write_bytes(WAV)
    (tmp_path / "good").symlink_to("talk.wav")
    for name in ("a", "gone", "zero.wav"):
        assert reason(tmp_path / name) is Reason.MISSING
    assert read_audio(tmp_path / "good").size == SOUND.size


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(WAV)
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    user = os.geteuid()
    if user == 0:  # nothing is forbidden to root
        os.seteuid(65_534)
    try:
        assert reason(path) is Reason.MISSING
    finally:
        os.seteuid(user)


def test_a_file_that_vanishes_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAV)
    with open_source(path) as source:
        path.unlink()
        assert source.read_at(0, 1 << 20) == WAV
        source.check_unchanged()
    assert reason(path) is Reason.MISSING


def test_names_that_differ_by_case_alone(tmp_path: Path) -> None:
    for name, count in (("STRASSE.wav", 500), ("strasse.wav", 600), ("stra\u00dfe.wav", 700)):
        (tmp_path / name).write_bytes(wav(pcm16(SOUND[:count])))
    lengths = {path.name: read_audio(path).size for path in tmp_path.iterdir()}
    assert lengths == {"STRASSE.wav": 500, "strasse.wav": 600, "stra\u00dfe.wav": 700}


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.wav", WAV)
    return stream.getvalue()


NOT_AUDIO = {
    "HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "JSON": b'{"error": "quota exceeded"}',
    "zip": _zip(),
    "gzip": b"\x1f\x8b\x08\0" + bytes(100),
    "tar": b"a.wav".ljust(257, b"\0") + b"ustar" + bytes(300),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "pickle": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94.",
    "HLS playlist": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
    "ffmpeg concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    "raw samples": pcm16(SOUND) + b"\1",
    "zeros": bytes(4_000),
    "ones": b"\xff" * 4_000,
    "text": b"hello",
    "MIDI": b"MThd\0\0\0\x06" + bytes(100),
    "AAC in ADTS": b"\xff\xf1\x50\x80" + bytes(100),
    "MATLAB": b"MATLAB 5.0 MAT-file" + bytes(200),
    "Creative VOC": b"Creative Voice File\x1a" + bytes(100),
    "SD2, XI, HTK and raw by extension": bytes(12) + bytes(range(200)),
}


@pytest.mark.parametrize("name", NOT_AUDIO)
@pytest.mark.parametrize("extension", [".wav", ".raw"])
def test_content_that_is_no_audio(name: str, extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    path.write_bytes(NOT_AUDIO[name])
    assert reason(path) is Reason.DECODE_ERROR


@pytest.mark.parametrize("extension", ["wav", "mp3", "ogg", "flac", "vox", "gsm", "txt", "au"])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "VORBIS", "MP3"])
def test_the_extension_decides_nothing(kind: str, extension: str, tmp_path: Path) -> None:
    data = encode(SOUND, kind)
    path = tmp_path / f"a.{extension}"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_audio(path), read_audio(data))
