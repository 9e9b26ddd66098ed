"""What is done to sound: MFCC by definition, rooms and noises as asked, masks of their share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spire_dsu.types import Float32, num_frames
from spire_training.encoder import acoustics, mfcc
from spire_training.encoder.acoustics import Acoustics
from spire_training.encoder.masking import span_mask
from spire_training.encoder.settings import Distortion, Masking


def sine(hertz: float, samples: int) -> Float32:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype(np.float32)


def cepstra_by_definition(samples: Float32) -> np.ndarray:
    """One window of 400 samples as the textbook has it: float64, no library transform."""
    x = samples[:400].astype(np.float64)
    x -= x.mean()
    x = np.array([x[n] - 0.97 * x[max(n - 1, 0)] for n in range(400)])
    x *= [0.54 - 0.46 * math.cos(2 * math.pi * n / 399) for n in range(400)]
    turn = -2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512
    spectrum = np.abs(np.exp(turn) @ x) ** 2

    def mel(f: float) -> float:
        return 1127 * math.log(1 + f / 700)

    low, high = mel(60), mel(7600)
    logs = []
    for m in range(40):
        left, peak, right = (low + (high - low) * (m + i) / 41 for i in range(3))
        total = 0.0
        for k in range(257):
            at = mel(k * 16_000 / 512)
            if left < at < right:
                total += spectrum[k] * min(
                    (at - left) / (peak - left), (right - at) / (right - peak)
                )
        logs.append(math.log(max(total, 1e-10)))
    scale = [math.sqrt(1 / 40)] + [math.sqrt(2 / 40)] * 12
    return np.array(
        [
            scale[c] * sum(logs[m] * math.cos(math.pi * c * (m + 0.5) / 40) for m in range(40))
            for c in range(13)
        ]
    )


def test_cepstra_are_those_of_the_definition() -> None:
    samples = sine(440, 560) + 0.01 * np.random.default_rng(0).standard_normal(560).astype(
        np.float32
    )
    found = mfcc.cepstra(samples)
    assert found.shape == (2, 13)
    np.testing.assert_allclose(found[0], cepstra_by_definition(samples), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found[1], cepstra_by_definition(samples[160:]), rtol=2e-3, atol=2e-3)


def test_deltas_of_a_line_are_its_slope() -> None:
    line = np.outer(np.arange(9), [1.0, -2.0]).astype(np.float32)
    np.testing.assert_allclose(mfcc.deltas(line)[2:-2], np.tile([1.0, -2.0], (5, 1)), rtol=1e-6)
    assert mfcc.deltas(line)[0, 0] == pytest.approx((1 + 2 * 2) / 10)  # the edge repeats


@pytest.mark.parametrize("samples", [400, 401, 719, 720, 16_000, 16_161])
def test_one_row_of_39_per_frame_of_the_encoder(samples: int) -> None:
    assert mfcc.mfcc(sine(300, samples), normalise=False).shape == (num_frames(samples), 39)


def test_normalised_rows_ignore_gain() -> None:
    rng = np.random.default_rng(1)
    samples = rng.standard_normal(16_000).astype(np.float32) * np.float32(0.1)
    loud, quiet = (mfcc.mfcc(samples * np.float32(g), normalise=True) for g in (1.0, 0.1))
    np.testing.assert_allclose(loud, quiet, atol=1e-3)
    np.testing.assert_allclose(loud.mean(axis=0), 0, atol=1e-4)


def test_noises_have_unit_power_and_their_slopes() -> None:
    for slope in acoustics.NOISE_SLOPES.values():
        samples = acoustics.noise(160_000, slope, np.random.default_rng(0))
        assert acoustics.power(samples) == pytest.approx(1, rel=1e-3)
        spectrum = np.abs(np.fft.rfft(samples)) ** 2
        octaves = [spectrum[f * 10 : f * 20].mean() for f in (500, 1000, 2000)]
        expected = 2 ** (2 * slope)
        np.testing.assert_allclose(np.divide(octaves[1:], octaves[:-1]), expected, rtol=0.05)


def test_a_room_keeps_time_and_decays() -> None:
    response = acoustics.room_response(0.4, 3.0, np.random.default_rng(0))
    assert response[0] == 1.0
    assert np.sum(response[1:] ** 2) == pytest.approx(10**-0.3, rel=1e-3)
    quarter = response.size // 4
    early, late = np.sum(response[1:quarter] ** 2), np.sum(response[-quarter:] ** 2)
    assert 10 * math.log10(early / late) == pytest.approx(45, abs=4)  # 3 quarters of 60 dB
    click = np.zeros(1000, np.float32)
    click[300] = 1.0
    heard = acoustics.convolve(click, response)
    assert heard.size == 1000
    assert np.abs(heard).argmax() == 300
    np.testing.assert_allclose(heard[:300], 0, atol=1e-6)


def only(**changes: object) -> Distortion:
    quiet = {
        "noise_probability": 0.0,
        "snr_db": (10.0, 10.0),
        "room_probability": 0.0,
        "reverberation_seconds": (0.2, 0.2),
        "direct_to_reverberant_db": (3.0, 3.0),
        "gain_db": (0.0, 0.0),
    }
    return Distortion.model_validate(quiet | changes)


def test_distortion_is_as_asked() -> None:
    speech, babble = sine(200, 16_000), sine(90, 40_000)
    rng = np.random.default_rng
    unchanged = Acoustics(only(), babble, 0).distort(speech, rng(1))
    np.testing.assert_array_equal(unchanged, speech)
    halved = Acoustics(only(gain_db=(-6.0206, -6.0206)), babble, 0).distort(speech, rng(1))
    np.testing.assert_allclose(halved, speech / 2, atol=1e-5)
    noisy = Acoustics(only(noise_probability=1.0), babble, 0)
    for seed in range(8):  # meets each of the four noises
        ratio = acoustics.power(speech) / acoustics.power(noisy.distort(speech, rng(seed)) - speech)
        assert 10 * math.log10(ratio) == pytest.approx(10, abs=0.01)
    echoed = Acoustics(only(room_probability=1.0), babble, 0).distort(speech, rng(1))
    assert not np.allclose(echoed, speech, atol=0.01)


def test_distortion_is_seeded(recipe_distortion: Distortion) -> None:
    made = [
        Acoustics(recipe_distortion, sine(90, 40_000), 3).distort(
            sine(200, 16_000), np.random.default_rng(seed)
        )
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.fixture
def recipe_distortion(recipe: object) -> Distortion:
    return recipe.distortion  # type: ignore[attr-defined]


def test_half_of_the_frames_are_hidden_in_spans() -> None:
    settings, rng = Masking(probability=0.08, length=10), np.random.default_rng(0)
    masks = np.stack([span_mask(200, settings, rng) for _ in range(500)])
    # 16 starts of 191 possible, each hides 10: a frame well inside escapes them all with this
    assert masks[:, 20:180].mean() == pytest.approx(1 - (1 - 10 / 191) ** 16, abs=0.02)
    edges = np.diff(masks.astype(int), axis=1, prepend=0, append=0)
    runs = np.argwhere(edges == -1)[:, 1] - np.argwhere(edges == 1)[:, 1]
    assert runs.min() >= 10


@given(st.integers(0, 60), st.integers(1, 20), st.floats(0.01, 0.9), st.integers(0, 9))
def test_a_mask_of_any_size_is_made_of_whole_spans(
    frames: int, length: int, probability: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mask = span_mask(frames, Masking(probability=probability, length=length), rng)
    assert mask.shape == (frames,)
    assert mask.sum() == 0 or mask.sum() >= length
