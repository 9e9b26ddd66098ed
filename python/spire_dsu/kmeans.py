"""k-means: features in, a codebook out; the same bytes for the same rows and seed.

Lloyd's iterations from a greedy k-means++ start (Arthur and Vassilvitskii 2007). Assignment is the
exact kernel that makes units of features, so a codebook is fitted with the very distances that it
is used with. Sums are float64 in a fixed order: the result does not depend on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import InputError
from spire_dsu.types import Float32, Int32, Int64
from spire_dsu.units import assign

Float64 = npt.NDArray[np.float64]

BLOCK = 65_536
"""Rows that are looked at together: bounds the memory beside the features themselves."""

START_ROWS_PER_CLUSTER = 64
"""Rows per cluster from which the start is drawn; more changed nothing that could be measured."""


@dataclass(frozen=True, slots=True)
class KMeansReport:
    """How a fit ended.

    Attributes:
        rows: rows that were fitted.
        iterations: Lloyd iterations that were run.
        converged: the relative change of the inertia fell below the tolerance.
        inertia: mean squared distance of a row to its centroid.
        used: clusters with at least one row.
        perplexity: exp of the entropy of the clusters' shares; equals the number of clusters if all
            are equally full.
        reseeded: how often an empty cluster was moved to a far row.
    """

    rows: int
    iterations: int
    converged: bool
    inertia: float
    used: int
    perplexity: float
    reseeded: int


def fit_kmeans(
    features_TD: Float32,
    clusters: int,
    *,
    seed: int = 0,
    iterations: int = 100,
    tolerance: float = 1e-4,
    candidates: int = 3,
) -> tuple[Float32, KMeansReport]:
    """Fit a codebook.

    Args:
        features_TD: float32 [T, D], finite; D is the feature size.
        clusters: K, from 1 to T.
        seed: decides the start, and with it everything.
        iterations: at most this many Lloyd iterations.
        tolerance: stop when an iteration lowers the inertia by less than this share.
        candidates: rows tried for each centroid of the start; the best is kept.

    Returns:
        centroids float32 [K, D] and the report.

    Raises:
        InputError: a wrong shape, dtype or number of clusters, or a value that is not finite.
    """
    _check(features_TD, clusters)
    if iterations < 1 or candidates < 1:
        raise InputError(f"needs 1 iteration and candidate, got {iterations} and {candidates}")
    rng = np.random.default_rng(seed)
    centre = _mean(features_TD)
    centroids = _start(features_TD, centre, clusters, candidates, rng)
    previous, reseeded, converged, done = np.inf, 0, False, 0
    while done < iterations and not converged:
        done += 1
        labels = assign(features_TD, centroids)
        sums, counts, inertia = _gather(features_TD, labels, centroids)
        empty = np.flatnonzero(counts == 0)
        if empty.size:
            far = _farthest(features_TD, labels, centroids, empty.size)
            sums[empty], counts[empty] = features_TD[far], 1
            reseeded += int(empty.size)
        centroids = (sums / counts[:, None]).astype(np.float32)
        converged = not empty.size and previous - inertia <= tolerance * inertia
        previous = inertia
    _, counts, inertia = _gather(features_TD, assign(features_TD, centroids), centroids)
    report = KMeansReport(
        rows=len(features_TD),
        iterations=done,
        converged=converged,
        inertia=inertia / len(features_TD),
        used=int(np.count_nonzero(counts)),
        perplexity=perplexity(counts),
        reseeded=reseeded,
    )
    return centroids, report


def perplexity(counts: Int64) -> float:
    """exp(-sum p log p) of the shares p of int64 [K] counts: how many clusters do the work."""
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _check(features_TD: Float32, clusters: int) -> None:
    if features_TD.ndim != 2 or features_TD.dtype != np.float32:
        raise InputError(
            f"features must be float32 [T, D], got {features_TD.dtype} {features_TD.shape}"
        )
    if not 1 <= clusters <= len(features_TD):
        raise InputError(f"clusters must be from 1 to the {len(features_TD)} rows, got {clusters}")
    for start, block in _blocks(features_TD):
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if bad.size:
            raise InputError(f"row {start + int(bad[0])} of the features is not finite")


def _blocks(features_TD: Float32) -> Iterator[tuple[int, Float32]]:
    for start in range(0, len(features_TD), BLOCK):
        yield start, features_TD[start : start + BLOCK]


def _mean(features_TD: Float32) -> Float64:
    total = np.zeros(features_TD.shape[1])
    for _, block in _blocks(features_TD):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(features_TD)


def _start(
    features_TD: Float32, centre: Float64, clusters: int, candidates: int, rng: np.random.Generator
) -> Float32:
    """Greedy k-means++ on a sample: each centroid is the best of a few rows drawn by squared
    distance.
    """
    count = min(len(features_TD), START_ROWS_PER_CLUSTER * clusters)
    sample = features_TD[np.sort(rng.choice(len(features_TD), count, replace=False))]
    rows = (sample - centre).astype(np.float32)  # centred: products of large means would cancel
    norms = np.einsum("td,td->t", rows, rows)
    chosen = np.empty(clusters, np.int64)
    nearest = np.full(count, np.inf, np.float32)
    for k in range(clusters):
        if k == 0:
            tried = rng.integers(count, size=1)
        else:
            mass = np.cumsum(nearest, dtype=np.float64)
            # with fewer distinct rows than clusters no distance is left: any row will do
            draws = rng.random(candidates) * mass[-1]
            tried = np.minimum(np.searchsorted(mass, draws, side="right"), count - 1)
        products = rows @ rows[tried].T
        distances = np.maximum(norms[:, None] + norms[tried] - 2 * products, 0).astype(np.float32)
        distances = np.minimum(distances, nearest[:, None])
        best = int(np.argmin(distances.sum(axis=0, dtype=np.float64)))
        chosen[k], nearest = tried[best], distances[:, best]
        nearest[chosen[k]] = 0.0  # whatever rounding made of it
    return np.ascontiguousarray(sample[chosen])


def _gather(
    features_TD: Float32, labels: Int32, centroids: Float32
) -> tuple[Float64, Int64, float]:
    """Of each cluster the sum float64 [K, D] and number int64 [K] of rows; and the inertia."""
    clusters, size = centroids.shape
    sums, counts, inertia = np.zeros((clusters, size)), np.zeros(clusters, np.int64), 0.0
    for start, block in _blocks(features_TD):
        ids = labels[start : start + len(block)]
        order = np.argsort(ids, kind="stable")
        present, firsts = np.unique(ids[order], return_index=True)
        ordered = block[order].astype(np.float64)
        sums[present] += np.add.reduceat(ordered, firsts, axis=0)
        counts += np.bincount(ids, minlength=clusters)
        ordered -= centroids[ids[order]]
        inertia += float(np.einsum("td,td->", ordered, ordered))
    return sums, counts, inertia


def _farthest(features_TD: Float32, labels: Int32, centroids: Float32, count: int) -> Int64:
    """The `count` rows that are farthest from their centroids, ties by the lower index."""
    distances = np.empty(len(features_TD), np.float32)
    for start, block in _blocks(features_TD):
        gap = block - centroids[labels[start : start + len(block)]]
        distances[start : start + len(block)] = np.einsum("td,td->t", gap, gap)
    return np.argsort(-distances, kind="stable")[:count]
