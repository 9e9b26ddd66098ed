"""Labels against the truth: every instruction set, every border, every regime that is hard."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from regimes import REGIMES, gmm, manifold, normal, truth
from shapes import MULTIPLIER, grid

from spire_dsu import _core, reference, units

ISAS = units.available_isas()


def labels(x: np.ndarray, c: np.ndarray, isa: str, threads: int = 2) -> np.ndarray:
    return units.assign(x, c, isa=isa, threads=threads)


def test_the_portable_code_is_always_there() -> None:
    assert ISAS[0] == "portable"


def test_the_reference_is_the_definition() -> None:
    centroids = np.array([[0, 0], [2, 0], [0, 2], [0, 0]], np.float32)
    frames = np.array([[0, 0], [1, 0], [1, 1], [2, 0.5], [0, 9]], np.float32)
    expected = [0, 0, 0, 1, 2]  # the second and the third frame tie
    assert reference.assign(frames, centroids).tolist() == expected
    for isa in ISAS:
        assert labels(frames, centroids, isa).tolist() == expected


@pytest.mark.parametrize("regime", REGIMES)
def test_hard_regimes(regime: str) -> None:
    for n, k, d in ((300, 700, 64), (65, 257, 100), (30, 130, 1030)):
        x, c = REGIMES[regime](n, k, d)
        expected = truth(x, c)
        for isa in ISAS:
            np.testing.assert_array_equal(labels(x, c, isa), expected, err_msg=isa)


def test_every_shape_of_the_grid() -> None:
    shapes = grid()
    assert len(shapes) > 100
    for n, k, d in shapes:
        x, c = normal(n, n, d), normal(k + 1, k, d)
        expected = truth(x, c)
        for isa in ISAS if n * k * d < 1e6 * MULTIPLIER**2 else ISAS[-1:]:
            assert np.array_equal(labels(x, c, isa), expected), (n, k, d, isa)


def test_a_large_batch_against_float64() -> None:
    x, c = manifold(4000 * MULTIPLIER, 2000, 256)
    np.testing.assert_array_equal(units.assign(x, c), truth(x, c))


@pytest.mark.parametrize("isa", ISAS)
def test_threads_and_batches_do_not_matter(isa: str) -> None:
    x, c = manifold(700, 900, 96)
    codebook = units.Codebook(c)
    whole = units.assign(x, codebook, isa=isa, threads=1)
    for threads in (2, 3, 7, 64):
        np.testing.assert_array_equal(units.assign(x, codebook, isa=isa, threads=threads), whole)
    cuts = [0, 1, 7, 8, 200, 393, 699, 700]
    parts = [x[a:b] for a, b in itertools.pairwise(cuts)]
    together = np.concatenate([units.assign(part, codebook, isa=isa) for part in parts])
    np.testing.assert_array_equal(together, whole)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named_and_gets_no_unit(isa: str, bad: float) -> None:
    x, c = gmm(900, 50, 30)
    x[[411, 500, 899], 29] = bad
    for threads in (1, 4):
        with pytest.raises(units.InputError, match="row 411 "):
            labels(x, c, isa, threads)
    with pytest.raises(units.InputError, match="row 411 "):  # no screen can be used
        labels(x, c * np.float32(1e30), isa)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_centroid_that_is_not_finite_is_named(bad: float) -> None:
    x, c = gmm(5, 300, 30)
    c[[77, 200], 3] = bad
    with pytest.raises(units.InputError, match="centroid 77 "):
        units.assign(x, c)


def test_half_precision_features_are_taken_for_what_they_hold() -> None:
    x, c = manifold(300, 400, 70)
    half = x.astype(np.float16)
    half[0, :6] = [6e-8, -6e-8, 6.1e-5, 65504, -65504, -0.0]  # denormal, smallest normal, largest
    for isa in ISAS:
        np.testing.assert_array_equal(labels(half, c, isa), truth(half.astype(np.float32), c))
    half[3, 3] = np.inf
    with pytest.raises(units.InputError, match="row 3 "):
        units.assign(half, c)


def test_every_float16_is_converted_exactly() -> None:
    """Each finite float16 as a frame of its own: nearest among values halfway to its neighbours."""
    bits = np.arange(2**16, dtype=np.uint16)
    values = bits.view(np.float16)
    finite = np.unique(values[np.isfinite(values)].astype(np.float32))
    pick = np.random.default_rng(0).choice(len(finite) - 1, 4000, replace=False)
    frames = finite[pick].astype(np.float16)[:, None]
    centroids = np.unique(np.concatenate([finite[pick], finite[pick + 1]]))[:, None]
    ids = units.assign(frames, centroids)
    np.testing.assert_array_equal(centroids[ids, 0], frames[:, 0].astype(np.float32))


def test_the_screens_do_their_work() -> None:
    """Not only right but screened: few candidates a frame, and no scan of all centroids."""
    x, c = manifold(600, 2000, 256)
    for isa in ISAS:
        _, stats = _core.assign_with_stats(x, _core.Codebook(c), isa=isa)
        assert stats["certified"] + stats["rescored"] == len(x), (isa, stats)
        assert stats["candidates"] < 40 * len(x), (isa, stats)


def test_one_huge_centroid_spoils_no_screen() -> None:
    x, c = gmm(100, 500, 64)
    c[123] = 1e9
    for isa in ISAS:
        _, stats = _core.assign_with_stats(x, _core.Codebook(c), isa=isa)
        assert (stats["scanned"], stats["deferred"]) == (0, 0), (isa, stats)
