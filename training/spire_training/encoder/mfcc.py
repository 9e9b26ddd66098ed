"""Mel-frequency cepstral coefficients with their first and second differences: the targets of the
first round.

As in HuBERT (Hsu et al. 2021, section IV-B): 13 coefficients, 25 ms windows every 10 ms, 39
dimensions. Every second row then sees exactly the 400 samples that the encoder's frame of 20 ms
sees.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import scipy.fft

from spire_dsu.types import FRAME_SAMPLES, SAMPLING_RATE, Float32

SHIFT = 160
FFT = 512
MELS = 40
COEFFICIENTS = 13
LOW_HZ, HIGH_HZ = 60.0, 7600.0
DELTA_WIDTH = 2


def _mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


@functools.cache
def mel_filters() -> Float32:
    """float32 [MELS, FFT // 2 + 1]: triangles, evenly spaced and linear in mel, as HTK and Kaldi
    make them.
    """
    edges = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), MELS + 2)
    bins = _mel(np.arange(FFT // 2 + 1) * SAMPLING_RATE / FFT)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def cepstra(samples: Float32) -> Float32:
    """float32 [(S - 400) // 160 + 1, 13] of float32 [S >= 400] samples in [-1, 1]; row t starts at
    sample 160 t.
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::SHIFT]
    centred = windows - windows.mean(axis=1, keepdims=True)
    emphasised = centred - 0.97 * np.concatenate([centred[:, :1], centred[:, :-1]], axis=1)
    shaped = emphasised * np.hamming(FRAME_SAMPLES).astype(np.float32)
    spectrum = np.abs(scipy.fft.rfft(shaped, FFT, axis=1)) ** 2
    mels = np.log(np.maximum(spectrum @ mel_filters().T, 1e-10))
    return np.asarray(scipy.fft.dct(mels, norm="ortho", axis=1)[:, :COEFFICIENTS], dtype=np.float32)


def deltas(features_TD: Float32) -> Float32:
    """The slope of each column over 2 rows to either side, by least squares; edges repeat (HTK's
    definition).
    """
    rows = len(features_TD)
    padded = np.pad(features_TD, ((DELTA_WIDTH, DELTA_WIDTH), (0, 0)), mode="edge")
    slope = np.zeros_like(features_TD)
    for n in range(1, DELTA_WIDTH + 1):
        ahead, behind = padded[DELTA_WIDTH + n :][:rows], padded[DELTA_WIDTH - n :][:rows]
        slope += n * (ahead - behind)
    slope /= 2 * sum(n * n for n in range(1, DELTA_WIDTH + 1))
    return slope


def mfcc(samples: Float32, normalise: bool) -> Float32:
    """float32 [T, 39]: one row per frame of 20 ms.

    Args:
        samples: float32 [S], 16 kHz.
        normalise: bring each column to mean 0 and variance 1 over the utterance, which takes away
            much of the voice.
    """
    static = cepstra(samples)
    first = deltas(static)
    features = np.concatenate([static, first, deltas(first)], axis=1)[::2]
    if normalise:
        features = (features - features.mean(axis=0)) / (features.std(axis=0) + np.float32(1e-5))
    return features
