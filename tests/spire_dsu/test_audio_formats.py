"""Every container, sample format, rate and channel count comes back as the signal that went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import soxr
from audio_makers import Samples, encode, pcm16, voice, wav

from spire_dsu.audio import decode_audio, read_audio
from spire_dsu.audio.mixing import resampled_length

LOSSLESS = [
    (container, subtype, tolerance)
    for container, subtypes in {
        "WAV": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
        "RF64": ["PCM_16", "PCM_24", "FLOAT"],
        "W64": ["PCM_16", "PCM_24", "DOUBLE"],
        "AIFF": ["PCM_S8", "PCM_16", "PCM_24", "FLOAT"],
        "AU": ["PCM_16", "ULAW", "FLOAT"],
        "NIST": ["PCM_16", "ULAW"],
        "FLAC": ["PCM_S8", "PCM_16", "PCM_24"],
    }.items()
    for subtype in subtypes
    for tolerance in [
        {"PCM_U8": 2**-7, "PCM_S8": 2**-7, "ULAW": 0.03, "ALAW": 0.03, "PCM_16": 2**-15}.get(
            subtype, 2e-7
        )
    ]
]
LOSSY = ["MP3", "VORBIS", "OPUS"]
RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000]


def at_16k(samples: Samples, rate: int) -> Samples:
    """The reference: soxr over the whole mono signal at once."""
    return samples if rate == 16_000 else soxr.resample(samples, rate, 16_000, quality="HQ")


def similarity(a: Samples, b: Samples) -> float:
    """Correlation of the best alignment within 20 ms."""
    n = min(len(a), len(b)) - 640
    inner = a[320 : 320 + n]
    shifts = [b[320 + s : 320 + s + n] for s in range(-320, 321, 8)]
    coarse = int(np.argmax([np.dot(inner, s) for s in shifts])) * 8 - 320
    fine = [
        b[320 + s : 320 + s + n] for s in range(max(-320, coarse - 8), min(320, coarse + 8) + 1)
    ]
    return max(float(np.corrcoef(inner, s)[0, 1]) for s in fine)


@pytest.mark.parametrize(("container", "subtype", "tolerance"), LOSSLESS)
def test_a_lossless_file_gives_its_samples(container: str, subtype: str, tolerance: float) -> None:
    sound = voice(0.3)
    waveform = decode_audio(encode(sound, container, subtype=subtype))
    assert waveform.samples.dtype == np.float32
    assert waveform.samples.flags.c_contiguous
    assert waveform.samples.shape == sound.shape
    assert np.abs(waveform.samples - sound).max() <= tolerance
    assert waveform.codec == subtype


@pytest.mark.parametrize("kind", LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_lossy_file_gives_nearly_its_samples(kind: str, rate: int, channels: int) -> None:
    sound = voice(0.7, rate, channels)
    waveform = decode_audio(encode(sound, kind, rate))
    mono = sound if channels == 1 else sound.mean(axis=1)
    expected = at_16k(mono, rate)
    assert abs(waveform.samples.size - expected.size) <= 16_000 * 0.06
    assert similarity(expected, waveform.samples) > 0.98
    assert waveform.channels == channels


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count(rate: int, channels: int) -> None:
    sound = voice(0.4, rate, channels)
    mono = sound if channels == 1 else sound.mean(axis=1)
    samples = read_audio(encode(sound, "WAV", rate, "FLOAT"))
    assert samples.size == resampled_length(len(sound), rate, 16_000)
    np.testing.assert_allclose(samples, at_16k(mono, rate), atol=2e-6)


def test_thirty_two_channels() -> None:
    sound = voice(0.1, 16_000, 32)
    np.testing.assert_allclose(
        read_audio(encode(sound, subtype="FLOAT")), sound.mean(axis=1), atol=1e-6
    )


@pytest.mark.parametrize(
    ("count", "rate", "expected"),
    [
        (400, 16_000, 400),
        (3, 48_000, 1),
        (1, 48_000, 0),
        (441, 44_100, 160),
        (11_025, 11_025, 16_000),
    ],
)
def test_the_length_after_resampling_is_known(count: int, rate: int, expected: int) -> None:
    assert resampled_length(count, rate, 16_000) == expected


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "VORBIS", "OPUS", "MP3"])
@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_the_size_of_a_block_changes_nothing(
    kind: str, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(voice(0.6, rate, 2), kind, rate)
    whole = read_audio(data)
    for values in (1 << 20, 2_000, 778):
        monkeypatch.setattr("spire_dsu.audio.readers.BLOCK_VALUES", values)
        monkeypatch.setattr("spire_dsu.audio.decode.BLOCK_VALUES", values)
        np.testing.assert_array_equal(read_audio(data), whole)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "VORBIS", "OPUS", "MP3"])
def test_twice_the_same(kind: str) -> None:
    data = encode(voice(0.6, 24_000), kind, 24_000)
    np.testing.assert_array_equal(read_audio(data), read_audio(data))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "VORBIS", "OPUS"])
def test_equal_to_what_libsndfile_alone_reads(kind: str) -> None:
    data = encode(voice(0.6), kind)
    plain, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_array_equal(read_audio(data), plain)


def test_wav_fields_beyond_the_usual() -> None:
    sound = voice(0.1)
    body = pcm16(sound)
    extensible = encode(sound, "WAVEX")
    listed = wav(body, before=b"LIST\x05\x00\x00\x00INFOx\x00", after=b"note\x02\x00\x00\x00ab")
    for data in (wav(body), extensible, listed):
        assert np.abs(read_audio(data) - sound).max() <= 2**-15


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_wav_with_a_coarse_codec(subtype: str) -> None:
    sound = voice(0.5, 8_000)
    samples = read_audio(encode(sound, "WAV", 8_000, subtype), sampling_rate=8_000)
    assert similarity(sound, samples) > 0.9
