"""How much audio and which values: short, long, silent, loud, and what is no number."""

from __future__ import annotations

import numpy as np
import pytest
from audio_makers import Samples, encode, flac_of_constants, pcm16, voice, wav

from spire_dsu.audio import IsolatedDecoder, read_audio
from spire_dsu.errors import AudioError, Reason
from spire_dsu.types import num_frames

SOUND = voice(0.2)


def floats(samples: Samples | np.ndarray, bits: int = 32) -> bytes:
    """A WAV of floats exactly as they are; libsndfile's writer is not asked."""
    return wav(samples.astype(f"<f{bits // 8}").tobytes(), coding=3, bits=bits)


def reason(data: bytes, **options: object) -> Reason:
    with pytest.raises(AudioError) as caught:
        read_audio(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("count", [1, 2, 399, 400, 401, 719, 720, 1_599, 65_535, 65_536, 65_537])
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_every_sample_counts(count: int, kind: str) -> None:
    samples = read_audio(encode(voice(5.0)[:count], kind))
    assert samples.size == count
    assert num_frames(samples.size) == (0 if count < 400 else (count - 400) // 320 + 1)


@pytest.mark.parametrize("count", [1_599_999, 1_600_000, 1_600_001, 3_200_001])
def test_lengths_at_which_others_cut(count: int) -> None:
    blocks = [4096] * (count // 4096) + [count % 4096]
    assert read_audio(flac_of_constants(blocks)).size == count


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "VORBIS", "AIFF"])
def test_no_samples(kind: str) -> None:
    assert reason(encode(SOUND[:0], kind)) in (Reason.EMPTY, Reason.DECODE_ERROR)


def test_no_samples_in_a_wav_is_empty() -> None:
    assert reason(wav(b"")) is Reason.EMPTY
    assert reason(wav(b"\x01")) is Reason.EMPTY  # half a sample


def test_too_few_samples_for_one_at_16k() -> None:
    assert reason(wav(b"\0\0", rate=48_000)) is Reason.EMPTY


def test_ten_hours_are_over_the_limit() -> None:
    blocks = [65_535] * 8_790
    assert reason(flac_of_constants(blocks, block=65_535)) is Reason.TOO_LONG


def test_memory_is_the_result_and_a_few_blocks() -> None:
    half_an_hour = flac_of_constants([65_535] * 439, block=65_535)
    result_bytes = 439 * 65_535 * 4
    with IsolatedDecoder(memory_bytes=result_bytes + (64 << 20)) as decoder:
        assert decoder.decode(half_an_hour).samples.nbytes == result_bytes


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, 1e38, 2.0**32], ids=lambda value: f"{value:g}"
)
@pytest.mark.parametrize("where", [0, 1_234, -1])
@pytest.mark.parametrize("bits", [32, 64])
def test_one_value_that_is_no_sound(value: float, where: int, bits: int) -> None:
    samples = SOUND.astype(np.float64)
    samples[where] = value
    with pytest.raises(AudioError, match=f"sample {where % SOUND.size} is") as caught:
        read_audio(floats(samples, bits))
    assert caught.value.reason is Reason.NON_FINITE


def test_a_double_beyond_float32() -> None:
    samples = SOUND.astype(np.float64)
    samples[7] = 1e300
    assert reason(floats(samples, 64)) is Reason.NON_FINITE


@pytest.mark.parametrize("kind", ["one channel", "infinities that cancel", "resampled"])
def test_nan_cannot_hide(kind: str) -> None:
    stereo = np.stack([SOUND, SOUND], axis=1).astype(np.float32)
    stereo[100] = {"infinities that cancel": [np.inf, -np.inf]}.get(kind, [0.1, np.nan])
    data = wav(
        stereo.astype("<f4").tobytes(),
        coding=3,
        bits=32,
        channels=2,
        rate=44_100 if kind == "resampled" else 16_000,
    )
    assert reason(data) is Reason.NON_FINITE


def test_nan_outside_of_the_segment_does_not_count() -> None:
    samples = SOUND.copy()
    samples[10] = np.nan
    np.testing.assert_array_equal(read_audio(floats(samples), offset=0.1), SOUND[1_600:])
    assert reason(floats(samples), duration=0.1) is Reason.NON_FINITE


@pytest.mark.parametrize(
    "samples",
    [
        SOUND * 0,
        SOUND * 0 + 1,
        np.sign(SOUND),
        SOUND * np.float32(1e-40),
        SOUND * 100,
        SOUND * 32_768,
        -SOUND * 0,
    ],
    ids=["silence", "constant 1", "clipped", "denormal", "loud", "scaled as int16", "-0.0"],
)
def test_odd_but_finite_values_are_kept(samples: Samples) -> None:
    np.testing.assert_array_equal(read_audio(floats(samples)), samples)


def test_full_scale_integers() -> None:
    extremes = np.array([-32_768, 32_767, 0, -1] * 200, "<i2")
    np.testing.assert_array_equal(
        read_audio(wav(extremes.tobytes())), extremes.astype(np.float32) / 32_768
    )


def test_one_channel_of_silence_beside_speech_is_halved_not_refused() -> None:
    stereo = np.stack([SOUND, SOUND * 0], axis=1)
    samples = read_audio(wav(pcm16(stereo), channels=2))
    np.testing.assert_allclose(samples, SOUND / 2, atol=2**-15)
