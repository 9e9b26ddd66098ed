"""k-means: it finds what is there, gives the same bytes again, and leaves no cluster empty."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest
from sklearn.cluster import KMeans

from spire_dsu.errors import InputError
from spire_dsu.kmeans import Lloyd, Schedule, State, draw_start, fit_kmeans, perplexity
from spire_dsu.kmeans import lloyd as lloyd_module
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


def test_the_number_of_threads_changes_no_bit() -> None:
    features = np.random.default_rng(8).standard_normal((6000, 24)).astype(np.float32)
    results = [fit_kmeans(features, 60, seed=1, iterations=6, threads=n) for n in (1, 2, 5)]
    assert len({centroids.tobytes() for centroids, _ in results}) == 1
    assert results[0][1] == results[1][1] == results[2][1]


def test_whole_passes_are_lloyds() -> None:
    features, _ = blobs(900, 9, 5, seed=2)
    features += np.random.default_rng(1).standard_normal(features.shape).astype(np.float32) * 9
    start = draw_start(features, 40, seed=3)
    lloyd = Lloyd(features, State.begin(start.copy(), len(features)), seed=3)
    centroids = start.astype(np.float64)
    for number in range(1, 6):
        history = lloyd.run(Schedule(passes=number, tolerance=0))
        distances = np.square(features[:, None] - centroids[None]).sum(axis=2)
        labels = distances.argmin(axis=1)
        centroids = np.stack([features[labels == k].mean(axis=0, dtype=float) for k in range(40)])
        np.testing.assert_allclose(lloyd.state.centroids, centroids, rtol=1e-5, atol=1e-5)
        left = np.square(features - centroids[labels]).sum() / len(features)
        assert history[-1].inertia == pytest.approx(left, rel=1e-6)
        assert history[-1].parts == 1


def test_passes_in_parts_reach_what_whole_ones_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(5).standard_normal((8000, 6)).astype(np.float32)
    _, parts = fit_kmeans(features, 20, seed=2)
    monkeypatch.setattr(lloyd_module, "MOST_PARTS", 1)
    _, whole = fit_kmeans(features, 20, seed=2)
    assert parts.inertia == pytest.approx(whole.inertia, rel=0.01)
    assert parts.converged
    assert whole.converged


def test_a_fit_goes_on_from_any_of_its_states() -> None:
    features = np.random.default_rng(6).standard_normal((4000, 10)).astype(np.float32)
    schedule = Schedule(passes=5, tolerance=0)

    def begin() -> State:
        return State.begin(draw_start(features, 30, seed=1), len(features))

    whole = Lloyd(features, begin(), seed=1)
    whole.run(schedule)
    state = begin()
    stops = 0
    while len(state.history) < 5:
        lloyd = Lloyd(features, copy.deepcopy(state), seed=1)
        with contextlib.suppress(InterruptedError):
            lloyd.run(schedule, interrupt)
        state = lloyd.state
        stops += 1
    assert stops > 10
    assert state.centroids.tobytes() == whole.state.centroids.tobytes()
    assert state.sums.tobytes() == whole.state.sums.tobytes()
    assert state.history == whole.state.history


def interrupt() -> None:
    raise InterruptedError


def test_inertia_never_rises() -> None:
    features = np.random.default_rng(4).standard_normal((2000, 6)).astype(np.float32)
    inertias = [fit_kmeans(features, 25, iterations=n)[1].inertia for n in (1, 2, 4, 8, 16)]
    assert inertias == sorted(inertias, reverse=True)


def test_repeated_rows_leave_clusters_for_which_there_is_no_place() -> None:
    features = np.repeat(np.eye(3, dtype=np.float32) * 9, 50, axis=0)
    centroids, report = fit_kmeans(features, 5, iterations=4)
    assert np.isfinite(centroids).all()
    assert report.used == 3
    assert report.reseeded == 0
    assert report.inertia == 0.0


def test_dead_centroids_are_moved_to_rows() -> None:
    features, means = blobs(2000, 10, 4)
    start = np.concatenate([means[:4], np.full((6, 4), 1e4, np.float32)])
    lloyd = Lloyd(features, State.begin(start, len(features)), seed=0)
    history = lloyd.run(Schedule(passes=30))
    assert history[0].reseeded > 1
    assert history[-1].reseeded == 0
    inertia, labels = lloyd.measure(features)
    assert np.unique(labels).size == 10
    assert inertia < 120  # four centroids alone leave over 400


def test_the_start_is_rows_far_from_each_other() -> None:
    features, means = blobs(3000, 50, 8, seed=4)
    means *= 100
    spread = means[np.arange(len(features)) % 50] + features * 0.01
    start = draw_start(spread.astype(np.float32), 50, seed=9)
    nearest = np.square(start[:, None] - means[None]).sum(axis=2).argmin(axis=1)
    assert sorted(nearest) == list(range(50))
    assert (start[:, None] == spread.astype(np.float32)[None]).all(axis=2).any(axis=1).all()


def test_half_precision_rows_are_taken_for_what_they_hold() -> None:
    features = np.random.default_rng(2).standard_normal((3000, 9)).astype(np.float16)
    plain = features.astype(np.float32)
    assert draw_start(features, 20, seed=1).tobytes() == draw_start(plain, 20, seed=1).tobytes()
    fits = [
        Lloyd(rows, State.begin(plain[:20].copy(), 3000), seed=1, heldout_TD=rows[:100])
        for rows in (features, plain)
    ]
    for each in fits:
        each.run(Schedule(passes=3))
    assert fits[0].state.centroids.tobytes() == fits[1].state.centroids.tobytes()


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
