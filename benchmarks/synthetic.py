"""Features that are as hard to quantise as speech: made here, so that benchmarks and tests need no
model and no audio.

A frame is a smooth function of a few slowly moving latents, plus noise; all frames share a large
mean and a few dims are many times wider than the rest, as in the upper layers of HuBERT. Centroids
come from k-means on frames of the same kind, so that the gap between the two nearest ones is what a
trained codebook sees.
"""

from __future__ import annotations

import numpy as np

import spire_dsu
from spire_dsu.types import Float32

LATENTS = 48
HIDDEN = 256
UTTERANCE = 500  # frames, 10 s


def speech_like(
    num_frames: int, dims: int = 1024, *, seed: int = 0, noise: float = 0.08, common: float = 20.0
) -> Float32:
    """float32 [num_frames, dims]: utterances of 500 frames, one after another.

    Args:
        seed: of the frames; the function from latents to features is always the same one.
        noise: standard deviation, per dim, of what the latents do not explain.
        common: how far the mean of the few wide dims lies from zero, in units of the other dims'
            means.
    """
    shape = np.random.default_rng(20_240)  # the fixed "model"
    to_hidden = _normal(shape, LATENTS, HIDDEN) / LATENTS**0.5
    from_hidden = _normal(shape, HIDDEN, dims) / HIDDEN**0.5
    linear = _normal(shape, LATENTS, dims) / LATENTS**0.5
    mean, width = 0.5 * _normal(shape, dims), np.ones(dims, np.float32)
    wide = shape.choice(dims, max(1, dims * 6 // 1024), replace=False)
    mean[wide] *= common
    width[wide] = 5.0

    draw = np.random.default_rng(seed)
    latents = _latents(draw, num_frames)
    features = np.tanh(latents @ to_hidden) @ from_hidden + 0.5 * (latents @ linear)
    features += noise * _normal(draw, num_frames, dims)
    return features * width + mean


def _normal(draw: np.random.Generator, *shape: int) -> Float32:
    return draw.standard_normal(shape, dtype=np.float32)


def _latents(draw: np.random.Generator, num_frames: int) -> Float32:
    """[num_frames, LATENTS]: first-order autoregressive in time, the strong ones slow and the weak
    ones fast."""
    rank = np.arange(LATENTS, dtype=np.float32)
    scale = 3.0 / np.sqrt(1.0 + rank)
    keep = np.linspace(0.97, 0.6, LATENTS, dtype=np.float32)
    num_utterances = -(-num_frames // UTTERANCE)
    state = _normal(draw, num_utterances, LATENTS)
    path = np.empty((num_utterances, UTTERANCE, LATENTS), np.float32)
    for t in range(UTTERANCE):
        state = keep * state + np.sqrt(1 - keep**2) * _normal(draw, num_utterances, LATENTS)
        path[:, t] = state
    return path.reshape(-1, LATENTS)[:num_frames] * scale


def codebook(num_centroids: int, train: Float32, *, iterations: int = 6, seed: int = 0) -> Float32:
    """float32 [num_centroids, D]: a few steps of Lloyd's algorithm from random frames of
    `train`."""
    draw = np.random.default_rng(seed)
    centroids = train[draw.choice(len(train), num_centroids, replace=False)].copy()
    for _ in range(iterations):
        ids = spire_dsu.assign(train, centroids)
        order = np.argsort(ids, kind="stable")
        used, starts = np.unique(ids[order], return_index=True)
        sums = np.add.reduceat(train[order], starts, axis=0, dtype=np.float64)
        counts = np.diff(starts, append=len(ids))
        centroids[used] = sums / counts[:, None]
    return centroids


def nearest_float64(features: Float32, centroids: Float32, rows: int = 1024) -> np.ndarray:
    """int64 [T]: argmin of float64 distances, centred so that float64 is more than enough."""
    mean = centroids.mean(axis=0, dtype=np.float64)
    shifted = centroids - mean
    half = 0.5 * np.square(shifted).sum(axis=1)
    blocks = [features[i : i + rows] - mean for i in range(0, len(features), rows)]
    return np.concatenate([(half - block @ shifted.T).argmin(axis=1) for block in blocks])
