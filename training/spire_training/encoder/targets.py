"""What a round predicts: the cluster of every frame of the clean training speech.

The labels come from clean speech while the encoder hears it distorted: the units then ignore rooms
and noise (the same step was taken from HuBERT to WavLM, Chen et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from spire_dsu.kmeans import KMeansReport, fit_kmeans
from spire_dsu.types import Float32, Int32, num_frames
from spire_dsu.units import assign
from spire_training.encoder.corpus import Split
from spire_training.encoder.settings import Codebook

Extractor = Callable[[Float32], Float32]
"""float32 [S] samples to float32 [T, D] features."""


def fit_codebook(
    extractor: Extractor,
    waves: Iterable[Float32],
    settings: Codebook,
    seed: int,
    share: float = 1.0,
) -> tuple[Float32, KMeansReport]:
    """A codebook over the features of some speech.

    Args:
        extractor: makes the features.
        waves: utterances.
        settings: number of clusters and of iterations.
        seed: decides the start, and which frames are taken.
        share: share of the frames of each utterance that are taken, at random.

    Returns:
        Centroids float32 [clusters, D], and how the fit ended.
    """
    rng, taken = np.random.default_rng([seed, 5]), []
    for wave in waves:
        features = extractor(wave)
        taken.append(features[rng.random(len(features)) < share])
    sample = np.concatenate(taken)
    return fit_kmeans(sample, settings.clusters, seed=seed, iterations=settings.iterations)


def total_frames(split: Split) -> int:
    """Frames of 20 ms in a split."""
    return sum(num_frames(utterance.samples) for utterance in split.utterances)


def write_targets(path: Path, split: Split, extractor: Extractor, centroids: Float32) -> None:
    """Write the label of every frame, int16, utterance after utterance."""
    labels = [assign(extractor(split.clean(i)), centroids) for i in range(len(split))]
    np.save(path, np.concatenate(labels).astype(np.int16))


class Targets:
    """The labels of a split, by utterance."""

    def __init__(self, path: Path, split: Split) -> None:
        self._labels = np.load(path)
        self._firsts = np.cumsum([0] + [num_frames(u.samples) for u in split.utterances])

    def __call__(self, number: int, start: int, count: int) -> Int32:
        """int32 [count], the labels of `count` frames of one utterance from frame `start`."""
        first = self._firsts[number] + start
        return np.asarray(self._labels[first : first + count], dtype=np.int32)
