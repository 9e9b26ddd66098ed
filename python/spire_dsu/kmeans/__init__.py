"""k-means: features in, a codebook out; the same bytes for the same rows and seed.

    start.py    k-means++, many centroids at a time     lloyd.py    passes over the rows

Assignment is the exact kernel that makes units of features, so a codebook is fitted with the very
distances that it is used with. Sums are float64 in a fixed order: the result does not depend on the
number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spire_dsu.errors import InputError
from spire_dsu.kmeans.lloyd import Lloyd, Pass, Schedule, State, perplexity
from spire_dsu.kmeans.start import draw_start
from spire_dsu.types import Float32

__all__ = [
    "KMeansReport", "Lloyd", "Pass", "Schedule", "State", "draw_start", "fit_kmeans", "perplexity",
]  # fmt: skip

_BLOCK = 65_536  # rows that are checked together


@dataclass(frozen=True, slots=True)
class KMeansReport:
    """How a fit ended.

    Attributes:
        rows: rows that were fitted.
        iterations: passes over the rows that were made.
        converged: the relative change of the inertia fell below the tolerance.
        inertia: mean squared distance of a row to its centroid.
        used: clusters with at least one row.
        perplexity: exp of the entropy of the clusters' shares; equals the number of clusters if all
            are equally full.
        reseeded: how often an empty cluster was moved to another row.
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
    threads: int | None = None,
) -> tuple[Float32, KMeansReport]:
    """Fit a codebook to features in memory. `spire-dsu fit` does the same for a corpus.

    Args:
        features_TD: float32 [T, D], finite; D is the feature size.
        clusters: K, from 1 to T.
        seed: decides the start, and with it everything.
        iterations: at most this many passes over the rows.
        tolerance: stop when a pass lowers the inertia by less than this share.
        threads: by default OMP_NUM_THREADS, else the processors this process may use.

    Returns:
        centroids float32 [K, D] and the report.

    Raises:
        InputError: a wrong shape, dtype or number of clusters, or a value that is not finite.
    """
    _check(features_TD, clusters)
    if iterations < 1:
        raise InputError(f"needs 1 iteration, got {iterations}")
    start = draw_start(features_TD, clusters, seed=seed, threads=threads)
    lloyd = Lloyd(features_TD, State.begin(start, len(features_TD)), seed=seed, threads=threads)
    history = lloyd.run(Schedule(passes=iterations, tolerance=tolerance))
    inertia, labels = lloyd.measure(features_TD)
    counts = np.bincount(labels, minlength=clusters)
    report = KMeansReport(
        rows=len(features_TD),
        iterations=len(history),
        converged=history[-1].settled,
        inertia=inertia,
        used=int(np.count_nonzero(counts)),
        perplexity=perplexity(counts),
        reseeded=sum(each.reseeded for each in history),
    )
    return lloyd.state.centroids, report


def _check(features_TD: Float32, clusters: int) -> None:
    if features_TD.ndim != 2 or features_TD.dtype != np.float32:
        raise InputError(
            f"features must be float32 [T, D], got {features_TD.dtype} {features_TD.shape}"
        )
    if not 1 <= clusters <= len(features_TD):
        raise InputError(f"clusters must be from 1 to the {len(features_TD)} rows, got {clusters}")
    for start in range(0, len(features_TD), _BLOCK):
        block = features_TD[start : start + _BLOCK]
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if bad.size:
            raise InputError(f"row {start + int(bad[0])} of the features is not finite")
