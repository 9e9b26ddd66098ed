"""What is taken of a recording: segments, channels, rates, and from where it is read."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from audio_makers import encode, pcm16, voice, wav

from spire_dsu.audio import decode_audio, decoder_fingerprint, read_audio
from spire_dsu.audio.source import open_source
from spire_dsu.errors import AudioError, InputError, Reason

KINDS = ["WAV", "FLAC", "VORBIS", "OPUS", "MP3", "AIFF"]


def reason(source: object, **options: object) -> Reason:
    with pytest.raises(AudioError) as caught:
        read_audio(source, **options)
    return caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("offset", "duration"), [(0.0, 0.25), (0.31, 0.3), (0.5, None)])
def test_a_segment_is_the_slice_of_the_whole(
    kind: str, offset: float, duration: float | None
) -> None:
    data = encode(voice(1.0, 24_000), kind, 24_000)
    whole = read_audio(data, sampling_rate=24_000)
    first = round(offset * 24_000)
    last = None if duration is None else round((offset + duration) * 24_000)
    part = read_audio(data, sampling_rate=24_000, offset=offset, duration=duration)
    np.testing.assert_array_equal(part, whole[first:last])


def test_a_segment_is_resampled_by_itself() -> None:
    data = encode(voice(1.0, 48_000), rate=48_000)
    waveform = decode_audio(data, offset=0.25, duration=0.5)
    assert (waveform.samples.size, waveform.source_frames) == (8_000, 24_000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("offset", "duration"),
    [(1.0, None), (5.0, 0.1), (0.9, 0.2), (1e8, None), (0.1, 1e8)],
)
def test_a_segment_outside_of_the_recording(
    kind: str, offset: float, duration: float | None
) -> None:
    data = encode(voice(1.0), kind)
    assert reason(data, offset=offset, duration=duration) is Reason.BAD_SEGMENT


@pytest.mark.parametrize("offset", [-0.1, float("nan"), float("inf"), "soon", 1e300])
def test_an_offset_that_is_none(offset: object) -> None:
    assert reason(encode(voice(0.1)), offset=offset) is Reason.BAD_SEGMENT


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf"), "long", 1e-9])
def test_a_duration_that_is_none(duration: object) -> None:
    assert reason(encode(voice(0.1)), duration=duration) is Reason.BAD_SEGMENT


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OPUS"])
def test_a_rounded_end_may_pass_the_end_by_one_frame(kind: str) -> None:
    data = encode(voice(1.0), kind)
    assert read_audio(data, offset=0.5, duration=0.52).size == 8_000
    assert reason(data, offset=0.5, duration=0.53) is Reason.BAD_SEGMENT


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit(kind: str) -> None:
    data = encode(voice(1.0), kind)
    assert reason(data, max_seconds=0.8) is Reason.TOO_LONG
    assert reason(data, max_seconds=0.4, offset=0.1, duration=0.5) is Reason.TOO_LONG
    assert read_audio(data, max_seconds=0.5, offset=0.1, duration=0.5).size == 8_000
    assert read_audio(data, max_seconds=float("inf")).size >= 16_000


def test_one_channel_of_several() -> None:
    left, right = voice(0.2), voice(0.2)[::-1]
    data = encode(np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(data, channel=0), left)
    np.testing.assert_array_equal(read_audio(data, channel=1), right)
    np.testing.assert_array_equal(read_audio(data), (left + right) / 2)
    assert reason(data, channel=2) is Reason.BAD_SEGMENT


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_channels_that_cancel(container: str, offset: float) -> None:
    sound = voice(0.5)
    waveform = decode_audio(
        encode(np.stack([sound, -sound], axis=1), container, subtype="PCM_16"), offset=0.1
    )
    assert waveform.cancelled
    assert waveform.channels == 2
    assert np.abs(waveform.samples - sound[1_600:]).max() <= 2**-15
    # A constant that both channels share does not hide it.
    shifted = np.stack([sound + offset, offset - sound], axis=1)
    assert decode_audio(encode(shifted, container, subtype="PCM_24")).cancelled


@pytest.mark.parametrize(
    "planes",
    [
        lambda s: [s, s],
        lambda s: [s, 0 * s],
        lambda s: [s, -0.9 * s],
        lambda s: [0 * s, 0 * s],
        lambda s: [0 * s + 0.7, 0 * s + 0.7],
        lambda s: [s, s[::-1]],
    ],
    ids=["same", "one silent", "nearly opposite", "silent", "constant", "different"],
)
def test_channels_that_do_not_cancel(planes: object) -> None:
    stereo = np.stack(planes(voice(0.3)), axis=1)
    waveform = decode_audio(encode(stereo, subtype="FLOAT"))
    assert not waveform.cancelled
    np.testing.assert_allclose(waveform.samples, stereo.mean(axis=1), atol=1e-6)


def test_asking_for_a_channel_of_a_cancelled_pair() -> None:
    sound = voice(0.3)
    data = encode(np.stack([sound, -sound], axis=1), subtype="FLOAT")
    waveform = decode_audio(data, channel=1)
    assert not waveform.cancelled
    np.testing.assert_array_equal(waveform.samples, -sound)


def test_every_way_to_name_a_recording(tmp_path: Path) -> None:
    sound = voice(0.2)
    data = wav(pcm16(sound))
    path = tmp_path / "talk.wav"
    path.write_bytes(data)
    expected = read_audio(path)
    assert np.abs(expected - sound).max() <= 2**-15
    behind = io.BytesIO(b"junk" + data)
    behind.seek(4)
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        sources = [
            str(path),
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            behind,
            file,
            raw,
        ]
        for source in [*sources, memoryview(data * 2)[::1][: len(data)]]:
            np.testing.assert_array_equal(read_audio(source), expected)
    np.testing.assert_array_equal(read_audio(_BytesPath(path)), expected)


class _BytesPath:
    """A path that is bytes, as file names are."""

    def __init__(self, path: Path) -> None:
        self._path = os.fsencode(path)

    def __fspath__(self) -> bytes:
        return self._path


@pytest.mark.parametrize("source", [None, 3, 1.5, ["a.wav"], np.zeros(400, np.float32)])
def test_what_names_no_recording(source: object) -> None:
    with pytest.raises(InputError, match=type(source).__name__):
        read_audio(source)


def test_a_stream_of_text(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("x")
    with path.open() as file, pytest.raises(InputError, match="mode 'rb'"):
        read_audio(file)


def test_a_stream_that_fails() -> None:
    stream = io.BytesIO(b"")
    stream.close()
    assert reason(stream) is Reason.MISSING


def test_a_stream_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spire_dsu.audio.source.MAX_STREAM_BYTES", 1 << 22)
    with Path("/dev/zero").open("rb") as zeros:
        assert reason(zeros) is Reason.TOO_LONG


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("sampling_rate", 0),
        ("sampling_rate", 16_000.5),
        ("sampling_rate", True),
        ("sampling_rate", "16000"),
        ("sampling_rate", 1 << 31),
        ("max_seconds", 0),
        ("max_seconds", float("nan")),
        ("max_seconds", "all"),
        ("channel", -1),
        ("channel", "left"),
        ("channel", 0.5),
    ],
)
def test_an_argument_out_of_its_range(option: str, value: object) -> None:
    with pytest.raises(InputError, match=str(value)):
        read_audio(encode(voice(0.1)), **{option: value})


def test_the_message_names_file_and_value(tmp_path: Path) -> None:
    path = tmp_path / "half.wav"
    path.write_bytes(wav(pcm16(voice(0.2)))[:3_244])
    with pytest.raises(
        AudioError, match=r"half\.wav': declares 6400 bytes .* holds 3200 .*\[truncated\]"
    ):
        read_audio(path)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "growing.wav"
    path.write_bytes(wav(pcm16(voice(0.2))))
    with open_source(path) as source:
        source.check_unchanged()
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(AudioError, match=r"changed while it was read: 6444 .* 6448"):
            source.check_unchanged()


def test_threads_do_not_disturb_each_other() -> None:
    sources = [
        encode(voice(0.2 + 0.05 * n, 24_000, 2), kind, 24_000) for n in range(3) for kind in KINDS
    ]
    sources += [data[: len(data) // 2] for data in sources]

    def outcome(data: bytes) -> object:
        try:
            return read_audio(data).tobytes()
        except AudioError as error:
            return str(error)

    expected = [outcome(data) for data in sources]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(outcome, sources * 4)) == expected * 4


def test_no_descriptor_stays_open() -> None:
    sources = [encode(voice(0.1), kind) for kind in KINDS] + [b"", b"junk", "/nowhere", "/dev/null"]
    before = len(list(Path("/proc/self/fd").iterdir()))
    for source in sources * 3:
        try:
            read_audio(source)
        except AudioError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_fingerprint_tells_versions_and_quality() -> None:
    fingerprint = decoder_fingerprint()
    assert set(fingerprint) == {"libsndfile", "soundfile", "soxr", "resampler", "mixing", "av"}
    assert all(isinstance(value, str) and value for value in fingerprint.values())
    assert "HQ" in fingerprint["resampler"]
    assert fingerprint == decoder_fingerprint()
