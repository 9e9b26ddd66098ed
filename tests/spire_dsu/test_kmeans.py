"""k-means: it finds what is there, gives the same bytes again, and leaves no cluster empty."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from spire_dsu import kmeans
from spire_dsu.errors import InputError
from spire_dsu.kmeans import fit_kmeans, perplexity
from spire_dsu.types import Float32


def blobs(rows: int, clusters: int, size: int, seed: int = 0) -> tuple[Float32, Float32]:
    """Tight clusters far apart, and their means; row i is of cluster i % clusters."""
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((clusters, size)) * 20
    noise = rng.standard_normal((rows, size))
    features = means[np.arange(rows) % clusters] + noise
    return features.astype(np.float32), means.astype(np.float32)


def test_finds_well_separated_clusters() -> None:
    features, means = blobs(6000, 30, 8)
    centroids, report = fit_kmeans(features, 30, seed=1)
    distances = np.linalg.norm(centroids[:, None] - means[None], axis=2)
    assert sorted(distances.argmin(axis=1)) == list(range(30))
    assert distances.min(axis=1).max() < 0.5
    assert report.converged
    assert report.used == 30
    assert report.perplexity == pytest.approx(30, rel=1e-6)
    assert report.inertia == pytest.approx(8, rel=0.05)  # D unit variances


def test_one_cluster_is_the_mean() -> None:
    features, _ = blobs(1000, 3, 5)
    centroids, report = fit_kmeans(features, 1)
    np.testing.assert_allclose(centroids[0], features.mean(axis=0, dtype=np.float64), rtol=1e-6)
    assert report.inertia == pytest.approx(features.var(axis=0).sum(), rel=1e-5)


def test_as_many_clusters_as_rows() -> None:
    features, _ = blobs(40, 7, 3)
    centroids, report = fit_kmeans(features, 40)
    assert report.inertia == 0.0
    np.testing.assert_array_equal(np.unique(centroids, axis=0), np.unique(features, axis=0))


def test_no_worse_than_scikit_learn() -> None:
    features = np.random.default_rng(3).standard_normal((5000, 12)).astype(np.float32)
    _, ours = fit_kmeans(features, 40, seed=5, tolerance=1e-5)
    theirs = KMeans(40, n_init=1, tol=1e-5, random_state=5).fit(features)
    assert ours.inertia <= theirs.inertia_ / 5000 * 1.01


def test_same_seed_same_bytes_and_another_seed_another_start() -> None:
    features = np.random.default_rng(3).standard_normal((4000, 16)).astype(np.float32)
    first, report = fit_kmeans(features, 50, seed=11)
    second, again = fit_kmeans(features.copy(), 50, seed=11)
    assert first.tobytes() == second.tobytes()
    assert report == again
    assert fit_kmeans(features, 50, seed=12)[0].tobytes() != first.tobytes()


def test_sums_do_not_depend_on_how_rows_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _ = blobs(3000, 10, 6)
    whole, _ = fit_kmeans(features, 10)
    monkeypatch.setattr(kmeans, "BLOCK", 700)
    np.testing.assert_allclose(fit_kmeans(features, 10)[0], whole, rtol=1e-6)


def test_inertia_never_rises() -> None:
    features = np.random.default_rng(4).standard_normal((2000, 6)).astype(np.float32)
    inertias = [fit_kmeans(features, 25, iterations=n)[1].inertia for n in (1, 2, 4, 8, 16)]
    assert inertias == sorted(inertias, reverse=True)


def test_repeated_rows_leave_empty_clusters_that_are_reseeded() -> None:
    features = np.repeat(np.eye(3, dtype=np.float32) * 9, 50, axis=0)
    centroids, report = fit_kmeans(features, 5, iterations=4)
    assert np.isfinite(centroids).all()
    assert report.used == 3  # no more places exist
    assert report.reseeded > 0
    assert report.inertia == 0.0


def test_a_large_common_offset_does_no_harm() -> None:
    features, _ = blobs(2000, 8, 4)
    _, plain = fit_kmeans(features, 8)
    _, moved = fit_kmeans(features + np.float32(1000), 8)
    assert moved.inertia == pytest.approx(plain.inertia, rel=1e-3)


def test_perplexity_of_shares() -> None:
    assert perplexity(np.array([5, 5, 0, 5, 5])) == pytest.approx(4)
    assert perplexity(np.array([9])) == 1.0


@pytest.mark.parametrize(
    ("features", "clusters", "said"),
    [
        (np.zeros(3, np.float32), 1, r"\(3,\)"),
        (np.zeros((3, 2)), 1, "float64"),
        (np.zeros((3, 2), np.float32), 4, "got 4"),
        (np.zeros((3, 2), np.float32), 0, "got 0"),
        (np.array([[0, 1], [np.nan, 1]], np.float32), 1, "row 1"),
    ],
)
def test_bad_input_is_named(features: np.ndarray, clusters: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fit_kmeans(features, clusters)
