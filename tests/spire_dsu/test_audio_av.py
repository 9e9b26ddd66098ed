"""M4A and WebM by PyAV: taken whole, or refused like the others."""

from __future__ import annotations

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from audio_makers import Samples, encode, voice

from spire_dsu.audio import decode_audio, read_audio
from spire_dsu.errors import AudioError, Reason

av = pytest.importorskip("av", reason="PyAV is an extra: pip install 'spire-dsu[av]'")

KINDS = {"M4A": ("mp4", "aac", 16_000), "WebM": ("webm", "libopus", 48_000)}


def made(kind: str, seconds: float = 1.0, channels: int = 1, sound: Samples | None = None) -> bytes:
    """An M4A (AAC) or WebM (Opus) file."""
    container, codec, rate = KINDS[kind]
    sound = voice(seconds, rate, channels) if sound is None else sound
    stream = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(stream, "w", format=container) as file:
        track = file.add_stream(codec, rate=rate, layout=layout)
        interleaved = np.ascontiguousarray(sound.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
        frame.sample_rate = rate
        for packet in [*track.encode(frame), *track.encode(None)]:
            file.mux(packet)
    return stream.getvalue()


def reason(data: bytes, **options: object) -> Reason:
    with pytest.raises(AudioError) as caught:
        read_audio(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_whole_recording(kind: str, channels: int) -> None:
    waveform = decode_audio(made(kind, channels=channels))
    assert waveform.channels == channels
    assert abs(waveform.samples.size - 16_000) <= 1_600
    reference = voice(1.0, 16_000, channels)
    reference = reference if channels == 1 else reference.mean(axis=1)
    # A writer that leaves out the edit list leaves one frame of AAC in front.
    shifts = [reference[:14_000], *(waveform.samples[s : s + 14_000] for s in range(0, 1_040, 8))]
    assert np.corrcoef(shifts)[0, 1:].max() > 0.95
    assert waveform.container == {"M4A": "mp4", "WebM": "matroska"}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_segment_limit_and_repetition(kind: str) -> None:
    data = made(kind)
    rate = KINDS[kind][2]
    whole = read_audio(data, sampling_rate=rate)
    part = read_audio(data, sampling_rate=rate, offset=0.25, duration=0.5)
    np.testing.assert_array_equal(part, whole[rate // 4 : rate // 4 + rate // 2])
    assert reason(data, offset=3) is Reason.BAD_SEGMENT
    assert reason(data, max_seconds=0.5) is Reason.TOO_LONG


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_cut(kind: str, share: float) -> None:
    data = made(kind)
    assert reason(data[: int(len(data) * share)]) is Reason.TRUNCATED


def test_two_recordings_and_junk() -> None:
    data = made("M4A")
    assert reason(data * 2) is Reason.DECODE_ERROR
    np.testing.assert_array_equal(read_audio(data + b"\0\0\1\0junkjunk"), read_audio(data))


def test_a_file_without_sound() -> None:
    box = struct.pack(">I", 16) + b"ftypisom" + bytes(4)
    assert reason(box) is Reason.DECODE_ERROR
    ebml = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x80"
    assert reason(ebml) is Reason.DECODE_ERROR
    assert reason(b"\x1a\x45\xdf\xa3\x80" + bytes(8)) is Reason.DECODE_ERROR


def test_damage_never_raises_anything_else() -> None:
    for kind in KINDS:
        data = made(kind, 0.3)
        for at in np.random.default_rng(8).integers(0, len(data), 150).tolist():
            changed = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            try:
                samples = read_audio(changed)
            except AudioError as error:
                assert error.reason is not Reason.OK  # noqa: PT017  # any reason is right here
            else:
                assert np.isfinite(samples).all()


def test_channels_that_cancel() -> None:
    sound = voice(1.0, 48_000)
    assert decode_audio(made("WebM", 1, 2, np.stack([sound, -sound], axis=1))).cancelled


def test_without_pyav_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['av'] = None\n"
        "from spire_dsu.audio import read_audio\n"
        "from spire_dsu.errors import AudioError\n"
        "try:\n    read_audio(sys.stdin.buffer)\n"
        "except AudioError as error:\n    print(error)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], input=made("M4A", 0.1), capture_output=True, check=True
    ).stdout.decode()
    assert "pip install 'spire-dsu[av]'" in output
    assert "[decode_error]" in output


def test_plain_files_do_not_need_pyav() -> None:
    program = (
        "import sys; sys.modules['av'] = None\n"
        "from spire_dsu.audio import read_audio\nprint(read_audio(sys.stdin.buffer).size)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program],
        input=encode(voice(0.1), "FLAC"),
        capture_output=True,
        check=True,
    ).stdout
    assert output == b"1600\n"
