"""quantize is assign, then run_length."""

from __future__ import annotations

import numpy as np
import pytest
from regimes import gmm, manifold

from spire_dsu import reference, units


@pytest.mark.parametrize(
    "splits", [[0, 400], [0, 0, 100, 101, 400, 400], [0, *range(7, 400, 7), 400]]
)
def test_it_is_assign_then_run_length(splits: list[int]) -> None:
    x, c = manifold(400, 12, 20)
    ours = units.quantize(x, splits, c)
    for part, expected in zip(ours, reference.quantize(x, np.array(splits), c), strict=True):
        np.testing.assert_array_equal(part, expected)
        assert part.dtype == expected.dtype
    apart = units.run_length(units.assign(x, c), splits)
    for part, expected in zip(ours, apart, strict=True):
        np.testing.assert_array_equal(part, expected)
    assert len(ours[0]) < 400  # something was merged


def test_an_empty_batch() -> None:
    _, c = gmm(1, 5, 3)
    result = units.quantize(np.empty((0, 3), np.float32), [0], c)
    assert [part.tolist() for part in result] == [[], [], [0]]


def test_results_own_no_more_memory_than_they_need() -> None:
    x, c = gmm(1, 5, 3)
    merged, durations, _ = units.quantize(np.repeat(x, 10_000, 0), [0, 10_000], c)
    assert (merged.base, merged.nbytes) == (None, 4)
    assert (durations.base, durations.tolist()) == (None, [10_000])


def test_errors_are_those_of_its_parts() -> None:
    x, c = gmm(10, 5, 3)
    with pytest.raises(units.InputError, match="entry 1 is 9"):
        units.quantize(x, [0, 9], c)
    with pytest.raises(units.InputError, match="3 wide, centroids 2"):
        units.quantize(x, [0, 10], c[:, :2].copy())
    x[6, 1] = np.nan
    with pytest.raises(units.InputError, match="row 6 "):
        units.quantize(x, [0, 10], c)
