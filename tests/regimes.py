"""Features and centroids that are hard, each in its own way, and the truth about them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from spire_dsu import reference
from spire_dsu.types import Float32, Int32

Pair = tuple[Float32, Float32]


def normal(seed: int, *shape: int) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def gmm(n: int, k: int, d: int) -> Pair:
    """Well apart: every frame near its own centroid."""
    c = normal(1, k, d)
    return c[np.random.default_rng(2).integers(0, k, n)] + np.float32(0.5) * normal(3, n, d), c


def manifold(n: int, k: int, d: int) -> Pair:
    """A curved sheet of eight dims, as features of speech are; centroids are frames: near ties."""
    mix, bend, noise = normal(4, 8, 64), normal(5, 64, d) / 8, np.float32(0.05)
    x = np.tanh(normal(6, n + k, 8) @ mix / 3) @ bend + noise * normal(7, n + k, d)
    return x[:n].copy(), x[n:].copy()


def outliers(n: int, k: int, d: int) -> Pair:
    """A few dims a thousand times wider than the rest, and far from zero."""
    x, c = manifold(n, k, d)
    width = np.where(np.arange(d) % 97 == 5, np.float32(1e3), np.float32(1))
    return (x + 30) * width, (c + 30) * width


def offset(n: int, k: int, d: int) -> Pair:
    """A common mean a thousand times the spread."""
    x, c = manifold(n, k, d)
    return x + np.float32(1e3), c + np.float32(1e3)


def one_wide(n: int, k: int, d: int) -> Pair:
    """One dim 1e4 times the rest."""
    x, c = normal(8, n, d), normal(9, k, d)
    x[:, d // 2] *= 1e4
    c[:, d // 2] *= 1e4
    return x, c


def near_ties(n: int, k: int, d: int) -> Pair:
    """Centroids in pairs, one float32 step apart in one dim: more than float32 sums can tell."""
    x, c = gmm(n, k, d)
    c[1::2] = c[: k - 1 : 2]
    c[1::2, 0] = np.nextafter(c[1::2, 0], np.float32(np.inf))
    return x, c


def duplicates(n: int, k: int, d: int) -> Pair:
    """Few different centroids, each many times, in no order."""
    x, c = gmm(n, k, d)
    return x, c[np.random.default_rng(10).integers(0, max(1, k // 9), k)]


def on_centroids(n: int, k: int, d: int) -> Pair:
    """Frames equal to a centroid, which occurs twice."""
    c = normal(11, k, d)
    c[k // 2 :] = c[: k - k // 2]
    return c[np.random.default_rng(12).integers(0, k, n)], c


def halfway(n: int, k: int, d: int) -> Pair:
    """Small integers: exact ties between different centroids."""
    draw = np.random.default_rng(13)
    x, c = draw.integers(-2, 3, (n, d)), draw.integers(-1, 2, (k, d))
    return x.astype(np.float32), c.astype(np.float32)


def huge(n: int, k: int, d: int) -> Pair:
    """Squares overflow float32, some values are at its very end."""
    x, c = gmm(n, k, d)
    x, c = x * np.float32(1e37), c * np.float32(1e37)
    c[0], x[:1] = np.finfo(np.float32).max, -np.finfo(np.float32).max
    return x, c


def one_huge(n: int, k: int, d: int) -> Pair:
    """One frame and one centroid out of all proportion; the others must not suffer."""
    x, c = gmm(n, k, d)
    x[:1], c[-1] = 1e30, 1e12
    return x, c


def tiny(n: int, k: int, d: int) -> Pair:
    """Squares underflow float32."""
    x, c = gmm(n, k, d)
    return x * np.float32(1e-30), c * np.float32(1e-30)


def denormal(n: int, k: int, d: int) -> Pair:
    """Values below the normal range of float32."""
    x, c = gmm(n, k, d)
    return x * np.float32(1e-41), c * np.float32(1e-41)


def constant(n: int, k: int, d: int) -> Pair:
    """All centroids the same: the answer is 0."""
    return normal(14, n, d), np.full((k, d), 0.25, np.float32)


REGIMES: dict[str, Callable[[int, int, int], Pair]] = {
    f.__name__: f
    for f in (
        gmm, manifold, outliers, offset, one_wide, near_ties, duplicates, on_centroids, halfway,
        huge, one_huge, tiny, denormal, constant,
    )
}  # fmt: skip


def truth(features_TD: Float32, centroids_KD: Float32, rows: int = 2048) -> Int32:
    """int32 [T]: `reference.assign`, after a float64 product has ruled out most centroids."""
    first = np.sort(np.unique(centroids_KD, axis=0, return_index=True)[1])
    centroids_KD = centroids_KD[first]  # equal ones cost much, and the first of them wins
    c = centroids_KD.astype(np.float64)
    mean = c.mean(axis=0)
    c -= mean
    half = 0.5 * np.square(c).sum(axis=1)
    ids = np.empty(len(features_TD), np.int32)
    for start in range(0, len(features_TD), rows):
        block = features_TD[start : start + rows]
        x = block.astype(np.float64) - mean
        scores = half - x @ c.T
        best = scores.min(axis=1)
        ids[start : start + rows] = scores.argmin(axis=1)
        noise = 1e-10 * (np.square(x).sum(axis=1) + half.max())
        near: npt.NDArray[np.bool_] = scores <= (best + noise)[:, None]
        for t in np.flatnonzero(near.sum(axis=1) > 1):
            candidates = np.flatnonzero(near[t])
            at = reference.assign(block[t : t + 1], centroids_KD[candidates])[0]
            ids[start + t] = candidates[at]
    return first[ids].astype(np.int32)
