"""Rooms, noise and gain: clean speech made as hard as a recording."""

from __future__ import annotations

import numpy as np
import scipy.fft

from spire_dsu.types import SAMPLING_RATE, Float32
from spire_training.encoder.settings import Distortion

_LN_60_DB = float(np.log(1000.0))
NOISE_SLOPES = {"white": 0.0, "pink": -0.5, "brown": -1.0}
"""Exponent of the amplitude spectrum over frequency."""


def power(samples: Float32) -> float:
    """Mean square of the samples, never 0."""
    return float(np.mean(np.square(samples, dtype=np.float64))) + 1e-12


def noise(count: int, slope: float, rng: np.random.Generator) -> Float32:
    """float32 [count] of Gaussian noise of unit power whose amplitude spectrum falls as frequency
    ** slope.
    """
    size = scipy.fft.next_fast_len(count, real=True)
    spectrum = scipy.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    bins = np.maximum(np.arange(spectrum.size, dtype=np.float32), size * 50 / SAMPLING_RATE)
    samples = scipy.fft.irfft(spectrum * bins**slope, size)[:count].astype(np.float32)
    return np.asarray(samples / np.sqrt(power(samples)), dtype=np.float32)


def room_response(
    seconds: float, direct_to_reverberant_db: float, rng: np.random.Generator
) -> Float32:
    """An impulse response: the direct path, then noise that falls by 60 dB in `seconds` (Polack's
    model).
    """
    count = max(2, int(seconds * SAMPLING_RATE))
    decay = np.exp(-_LN_60_DB * np.arange(count) / count)
    tail = rng.standard_normal(count) * decay
    tail[: SAMPLING_RATE // 500] = 0.0  # nothing returns within 2 ms
    tail *= np.sqrt(10 ** (-direct_to_reverberant_db / 10) / np.sum(tail**2))
    tail[0] = 1.0
    return tail.astype(np.float32)


def convolve(samples: Float32, response: Float32) -> Float32:
    """The samples heard through a response, cut to their own length: no shift in time."""
    size = scipy.fft.next_fast_len(samples.size + response.size - 1, real=True)
    spectrum = scipy.fft.rfft(samples, size) * scipy.fft.rfft(response, size)
    return np.asarray(scipy.fft.irfft(spectrum, size)[: samples.size], dtype=np.float32)


class Acoustics:
    """Distorts speech; the noises are made once, two minutes each, and every use takes a piece.

    Args:
        settings: ranges and probabilities.
        babble: float32 of many voices at once, the fourth kind of noise.
        seed: decides the noises.
    """

    def __init__(self, settings: Distortion, babble: Float32, seed: int) -> None:
        rng = np.random.default_rng([seed, 4])
        self._settings = settings
        self._noises = [noise(babble.size, slope, rng) for slope in NOISE_SLOPES.values()]
        self._noises.append(babble)

    def distort(self, samples: Float32, rng: np.random.Generator) -> Float32:
        """float32 [S] of speech in a room, in noise, at some gain; equal generators give equal
        samples.
        """
        settings, heard = self._settings, samples
        if rng.random() < settings.room_probability:
            seconds = rng.uniform(*settings.reverberation_seconds)
            ratio = rng.uniform(*settings.direct_to_reverberant_db)
            heard = convolve(heard, room_response(seconds, ratio, rng))
        if rng.random() < settings.noise_probability:
            source = self._noises[rng.integers(len(self._noises))]
            start = rng.integers(source.size - samples.size + 1)
            added = source[start : start + samples.size]
            level = power(heard) / power(added) * 10 ** (-rng.uniform(*settings.snr_db) / 10)
            heard = heard + added * np.float32(np.sqrt(level))
        gain = 10 ** (rng.uniform(*settings.gain_db) / 20)
        return np.asarray(heard * np.float32(gain), dtype=np.float32)
