"""What a round predicts: the cluster of every frame, had a plain voice said it and nobody else.

The labels come from one clean voice while the encoder hears many in rooms and noise: units then
ignore the voice (ContentVec, Qian et al. 2022, converts voices for it; a synthesiser says the text
again) and what was done to it (as from HuBERT to WavLM, Chen et al. 2022).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from spire_dsu.files import write_atomically
from spire_dsu.kmeans import KMeansReport, fit_kmeans
from spire_dsu.types import Float32, Int32, num_frames
from spire_dsu.units import assign
from spire_training.encoder.alignment import frames_of
from spire_training.encoder.corpus import Split
from spire_training.encoder.settings import Codebook

Extractor = Callable[[Float32], Float32]
"""float32 [S] samples to float32 [T, D] features."""


def fit_codebook(
    features: Iterable[Float32], settings: Codebook, seed: int, share: float = 1.0
) -> tuple[Float32, KMeansReport]:
    """A codebook over the features of some speech.

    Args:
        features: float32 [T, D] of each utterance.
        settings: number of clusters and of iterations.
        seed: decides the start, and which frames are taken.
        share: share of the frames of each utterance that are taken, at random.

    Returns:
        Centroids float32 [clusters, D], and how the fit ended.
    """
    rng, taken = np.random.default_rng([seed, 5]), []
    for features_TD in features:
        taken.append(features_TD[rng.random(len(features_TD)) < share])
    sample = np.concatenate(taken)
    return fit_kmeans(sample, settings.clusters, seed=seed, iterations=settings.iterations)


def total_frames(split: Split) -> int:
    """Frames of 20 ms in a split."""
    return sum(num_frames(utterance.samples) for utterance in split.utterances)


def write_targets(
    path: Path,
    split: Split,
    teacher: Split,
    extractor: Extractor,
    settings: Codebook,
    frames: int,
    seed: int,
) -> KMeansReport:
    """Cluster the features of the teacher's speech and write, for every frame of a split, the label
    of what the teacher says there.

    Args:
        path: an .npy file, int16, utterance after utterance of the split.
        split: the speech that gets the labels.
        teacher: the same texts in any order; its features must fit into memory.
        extractor: makes the features.
        settings: number of clusters and of iterations.
        frames: frames that k-means sees, an even share of each utterance.
        seed: of the clusters.
    """
    features = [extractor(teacher.clean(number)) for number in range(len(teacher))]
    share = min(1.0, frames / total_frames(teacher))
    centroids, report = fit_codebook(features, settings, seed, share)
    places = {utterance.text: number for number, utterance in enumerate(teacher.utterances)}
    labels = []
    for utterance in split.utterances:
        number = places[utterance.text]
        said = assign(features[number], centroids)
        labels.append(said[frames_of(teacher.utterances[number], utterance)])
    file = io.BytesIO()
    np.save(file, np.concatenate(labels).astype(np.int16))
    write_atomically(path, file.getvalue())
    return report


class Targets:
    """The labels of a split, by utterance."""

    def __init__(self, path: Path, split: Split) -> None:
        self._labels = np.load(path)
        self._firsts = np.cumsum([0] + [num_frames(u.samples) for u in split.utterances])

    def __call__(self, number: int, start: int, count: int) -> Int32:
        """int32 [count], the labels of `count` frames of one utterance from frame `start`."""
        first = self._firsts[number] + start
        return np.asarray(self._labels[first : first + count], dtype=np.int32)
