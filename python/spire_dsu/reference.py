"""What the kernels mean, in NumPy: slow, short, and what every fast path is tested against."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from spire_dsu.types import Float32, Int32, Int64


def assign(features_TD: Float32, centroids_KD: Float32) -> Int32:
    """int32 [T]: the k with the least sum over d of (x_d - c_kd)^2, the lowest k on a tie.

    float64 decides where it can; frames with several centroids inside its rounding error are
    settled in fractions.
    """
    centroids = centroids_KD.astype(np.float64)
    ids = np.empty(len(features_TD), np.int32)
    for t, frame in enumerate(features_TD):
        distances = ((frame.astype(np.float64) - centroids) ** 2).sum(axis=1)
        near = distances.min() * (1 + 4 * (centroids.shape[1] + 4) * 2.0**-53)
        candidates = np.flatnonzero(distances <= near)
        if candidates.size > 1:  # min() returns the first, hence the lowest, of equal ones
            candidates = np.array(
                [min(candidates, key=lambda k: _distance(frame, centroids_KD[k]))]
            )
        ids[t] = candidates[0]
    return ids


def _distance(frame: Float32, centroid: Float32) -> Fraction:
    pairs = zip(frame.tolist(), centroid.tolist(), strict=True)
    return sum(((Fraction(x) - Fraction(c)) ** 2 for x, c in pairs), Fraction(0))


def run_length(ids: Int32, row_splits: Int64) -> tuple[Int32, Int32, Int64]:
    """Units, durations and their row splits: `itertools.groupby` within each row."""
    rows = [ids[a:b].tolist() for a, b in itertools.pairwise(row_splits)]
    runs = [[(unit, len(list(group))) for unit, group in itertools.groupby(row)] for row in rows]
    flat = np.array([run for row in runs for run in row], np.int32).reshape(-1, 2)
    splits = np.cumsum([0] + [len(row) for row in runs], dtype=np.int64)
    return flat[:, 0], flat[:, 1], splits


def quantize(
    features_TD: Float32, row_splits: Int64, centroids_KD: Float32
) -> tuple[Int32, Int32, Int64]:
    """`assign`, then `run_length`."""
    return run_length(assign(features_TD, centroids_KD), row_splits)
