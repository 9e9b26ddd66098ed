"""Where k-means starts: k-means++ (Arthur and Vassilvitskii 2007), many centroids at a time.

k-means++ draws each centroid with a probability proportional to a row's squared distance D^2 to the
centroids before it, and so reads all rows once per centroid. Here a batch of rows is drawn by the
distances before the batch, and each is kept with the probability D^2 now / D^2 before: by rejection
the kept ones are drawn exactly as if one by one, for "now" only takes the distances to those kept
before in the batch. All rows are then compared with the whole batch at once, by `assign`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from spire_dsu import _core
from spire_dsu.types import Float32
from spire_dsu.units import assign

Rows = npt.NDArray[Any]  # float32 or float16
Float64 = npt.NDArray[np.float64]

ROWS_PER_CLUSTER = 8
LEAST_ROWS = 4096
"""The start is drawn from so many rows; from more it is no better after a few passes."""

GREEDY_CLUSTERS = 64
GREEDY_TRIALS = 4
"""Of so few clusters each counts: the best of some rows is taken, one centroid at a time."""

_MOST_TOGETHER = 256


def draw_start(
    features_TD: Rows,
    clusters: int,
    *,
    seed: int,
    threads: int | None = None,
    check: Callable[[], None] | None = None,
) -> Float32:
    """The first centroids: rows, far from each other.

    Args:
        features_TD: float32 or float16 [T, D], finite.
        clusters: K, at most T.
        seed: decides which rows.
        threads: as for `assign`; the result does not depend on it.
        check: called now and then; may raise to end the work.

    Returns:
        float32 [K, D].
    """
    rng = np.random.default_rng([seed, 1])
    count = min(len(features_TD), max(LEAST_ROWS, ROWS_PER_CLUSTER * clusters))
    picked = np.sort(rng.choice(len(features_TD), count, replace=False))
    sample = np.ascontiguousarray(features_TD[picked])
    chosen = [int(rng.integers(count))]
    nearest = _distances(sample, chosen, threads)
    while len(chosen) < clusters and nearest.any():
        if check is not None:
            check()
        if clusters <= GREEDY_CLUSTERS:
            kept = draw_apart(sample, nearest, GREEDY_TRIALS, rng)
            after = [np.minimum(nearest, _distances(sample, [row], threads)) for row in kept]
            best = min(range(len(kept)), key=lambda trial: float(after[trial].sum()))
            chosen.append(kept[best])
            nearest = after[best]
            continue
        room = min(clusters - len(chosen), len(chosen), _MOST_TOGETHER)
        kept = draw_apart(sample, nearest, room, rng)
        chosen += kept
        np.minimum(nearest, _distances(sample, kept, threads), out=nearest)
    if len(chosen) < clusters:  # fewer distinct rows than clusters: any others will do
        rest = np.setdiff1d(np.arange(count), chosen)
        chosen += rest[: clusters - len(chosen)].tolist()
    return sample[chosen].astype(np.float32)


def draw_apart(rows_TD: Rows, nearest: Float64, count: int, rng: np.random.Generator) -> list[int]:
    """Draws up to `count` rows as k-means++ would, one after another; at least one.

    Args:
        rows_TD: the rows.
        nearest: float64 [T], their squared distances to the centroids so far, not all 0.
        count: how many are tried; those that the rejection leaves are fewer.
        rng: the dice.

    Returns:
        Their numbers.
    """
    sums = np.cumsum(nearest)
    found = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
    # A product may round up to the whole: then the last row that has any mass.
    drawn = np.minimum(found, np.searchsorted(sums, sums[-1], side="left"))
    kept: list[int] = []
    places = np.empty((count, rows_TD.shape[1]), np.float32)
    for row, die in zip(drawn.tolist(), rng.random(count), strict=True):
        gaps = places[: len(kept)] - rows_TD[row]
        now = np.einsum("td,td->t", gaps, gaps).min(initial=nearest[row])
        if die * nearest[row] < now:
            places[len(kept)] = rows_TD[row]
            kept.append(row)
    return kept


def _distances(sample: Rows, chosen: list[int], threads: int | None) -> Float64:
    """float64 [rows]: squared distance to the nearest of the chosen rows."""
    centroids = sample[chosen].astype(np.float32)
    labels = assign(sample, centroids, threads=threads)
    return _core.distances(sample, labels, centroids, threads=threads or 0)
