"""What must hold for any features and centroids, whatever the kernel does inside."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import MULTIPLIER

from spire_dsu import units

CASES = settings(max_examples=60 * MULTIPLIER, deadline=None, derandomize=True)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, str]:
    """Features, centroids, an instruction set; often small integers, so that ties are common."""
    n, k, d = draw(st.integers(1, 40)), draw(st.integers(1, 90)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    x, c = random.standard_normal((n, d)), random.standard_normal((k, d))
    scale = draw(st.sampled_from([1.0, 1e-3, 1e6, 1e25]))
    if draw(st.booleans()):
        x, c = np.round(x), np.round(c)
    isa = draw(st.sampled_from(units.available_isas()))
    return (x * scale).astype(np.float32), (c * scale).astype(np.float32), isa


@CASES
@given(problems())
def test_a_centroid_is_its_own_nearest_or_the_first_of_its_equals(problem: tuple) -> None:
    _, c, isa = problem
    _, first, inverse = np.unique(c, axis=0, return_index=True, return_inverse=True)
    assert np.array_equal(units.assign(c, c, isa=isa), first[inverse.ravel()])


@CASES
@given(problems(), st.integers(-8, 8))
def test_an_exact_translation_changes_nothing(problem: tuple, shift: int) -> None:
    x, c, isa = problem
    x, c = np.round(x % 16), np.round(c % 16)  # integers, so that the shift is exact
    assert np.array_equal(
        units.assign(x + np.float32(shift), c + np.float32(shift), isa=isa),
        units.assign(x, c, isa=isa),
    )


@CASES
@given(problems(), st.integers(-60, 60))
def test_a_power_of_two_changes_nothing(problem: tuple, power: int) -> None:
    x, c, isa = problem
    x, c = (np.clip(a, -1e3, 1e3).astype(np.float16).astype(np.float32) for a in (x, c))
    scale = np.float32(2.0**power)
    assert np.array_equal(units.assign(x * scale, c * scale, isa=isa), units.assign(x, c, isa=isa))


@CASES
@given(problems(), st.randoms(use_true_random=False))
def test_permuting_frames_permutes_labels(problem: tuple, random: object) -> None:
    x, c, isa = problem
    order = np.random.default_rng(random.randrange(2**32)).permutation(len(x))
    assert np.array_equal(units.assign(x[order], c, isa=isa), units.assign(x, c, isa=isa)[order])


@CASES
@given(problems(), st.randoms(use_true_random=False))
def test_permuting_centroids_permutes_units(problem: tuple, random: object) -> None:
    x, c, isa = problem
    c = np.unique(c, axis=0)
    order = np.random.default_rng(random.randrange(2**32)).permutation(len(c))
    before, after = units.assign(x, c, isa=isa), order[units.assign(x, c[order], isa=isa)]
    for t in np.flatnonzero(before != after):  # only an exact tie may be settled otherwise
        a, b = c[before[t]].astype(np.longdouble), c[after[t]].astype(np.longdouble)
        frame = x[t].astype(np.longdouble)
        gap = abs(((frame - a) ** 2).sum() - ((frame - b) ** 2).sum())
        assert gap <= 1e-15 * ((frame - a) ** 2).sum()


@CASES
@given(problems(), st.data())
def test_splitting_the_batch_changes_nothing(problem: tuple, data: st.DataObject) -> None:
    x, c, isa = problem
    cut = data.draw(st.integers(0, len(x)))
    parts = [units.assign(part, c, isa=isa) for part in (x[:cut], x[cut:])]
    assert np.array_equal(np.concatenate(parts), units.assign(x, c, isa=isa))


@CASES
@given(problems())
def test_a_repeated_centroid_never_wins_over_the_first(problem: tuple) -> None:
    x, c, isa = problem
    assert np.array_equal(
        units.assign(x, np.concatenate([c, c]), isa=isa), units.assign(x, c, isa=isa)
    )
