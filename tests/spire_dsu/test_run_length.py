"""Runs: literal cases, laws, and itertools.groupby."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import FRAMES, MULTIPLIER

from spire_dsu import reference, units

CASES = settings(max_examples=200 * MULTIPLIER, deadline=None, derandomize=True)


@st.composite
def ragged_ids(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows = draw(st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=8))
    ids = np.array([unit for row in rows for unit in row], np.int32)
    return ids, np.cumsum([0, *map(len, rows)], dtype=np.int64)


def test_literally() -> None:
    ids = np.array([7, 7, 3, 3, 3, 3], np.int32)
    result = units.run_length(ids, [0, 3, 3, 5, 6])
    assert [part.tolist() for part in result] == [[7, 3, 3, 3], [2, 1, 2, 1], [0, 2, 2, 3, 4]]
    assert [part.dtype for part in result] == [np.int32, np.int32, np.int64]


def test_nothing_in_nothing_out() -> None:
    empty = np.empty(0, np.int32)
    assert [part.tolist() for part in units.run_length(empty, [0])] == [[], [], [0]]
    assert [part.tolist() for part in units.run_length(empty, [0, 0, 0])] == [[], [], [0, 0, 0]]


def test_a_run_longer_than_16_bits() -> None:
    result = units.run_length(np.full(70_000, 4999, np.int32), [0, 70_000])
    assert [part.tolist() for part in result] == [[4999], [70_000], [0, 1]]


@pytest.mark.parametrize("size", [n for n in FRAMES if n < 10**5 or MULTIPLIER > 1])
def test_sizes_of_the_grid(size: int) -> None:
    draw = np.random.default_rng(size)
    ids = np.repeat(draw.integers(0, 5, size), 2)[:size].astype(np.int32)
    splits = np.concatenate([[0], np.sort(draw.integers(0, size + 1, 5)), [size]]).astype(np.int64)
    for ours, theirs in zip(
        units.run_length(ids, splits), reference.run_length(ids, splits), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@CASES
@given(ragged_ids())
def test_it_equals_groupby(case: tuple[np.ndarray, np.ndarray]) -> None:
    for ours, theirs in zip(units.run_length(*case), reference.run_length(*case), strict=True):
        assert np.array_equal(ours, theirs)


@CASES
@given(ragged_ids())
def test_laws(case: tuple[np.ndarray, np.ndarray]) -> None:
    ids, splits = case
    merged, durations, unit_splits = units.run_length(ids, splits)
    assert np.array_equal(np.repeat(merged, durations), ids)  # expand(collapse(x)) = x
    assert (durations > 0).all()
    for row in range(len(splits) - 1):
        inside = slice(unit_splits[row], unit_splits[row + 1])
        assert (np.diff(merged[inside]) != 0).all()  # no equal neighbours
        assert durations[inside].sum() == splits[row + 1] - splits[row]


@pytest.mark.parametrize(
    ("splits", "entry"),
    [
        ([1, 3], "entry 0 is 1"),
        ([0, 2, 1, 3], "entry 2 is 1"),
        ([0, 4], "entry 1 is 4"),
        ([0, 2], "entry 1 is 2"),
    ],
)
def test_bad_row_splits_name_the_entry(splits: list[int], entry: str) -> None:
    with pytest.raises(units.InputError, match=entry):
        units.run_length(np.zeros(3, np.int32), splits)


@pytest.mark.parametrize(
    ("ids", "splits"),
    [
        (np.zeros((2, 2), np.int32), [0, 4]),
        (np.zeros(3, np.float32), [0, 3]),
        (np.array([2**31]), [0, 1]),
        (np.zeros(3, np.int32), [0.0, 3.0]),
        (np.zeros(3, np.int32), []),
        (np.zeros(3, np.int32), [[0, 3]]),
    ],
)
def test_wrong_shapes_and_types(ids: np.ndarray, splits: list) -> None:
    with pytest.raises(units.InputError):
        units.run_length(ids, splits)


def test_other_integers_are_taken_when_they_fit() -> None:
    for dtype in (np.uint8, np.int64, np.uint16):
        result = units.run_length(np.array([1, 1, 2], dtype), np.array([0, 3], np.int32))
        assert [part.tolist() for part in result] == [[1, 2], [2, 1], [0, 2]]
    strided = np.array([1, 9, 1, 9, 2, 9], np.int32)[::2]
    assert units.run_length(strided, [0, 3])[0].tolist() == [1, 2]
