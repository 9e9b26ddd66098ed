"""Phone purity, cluster purity and PNMI against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spire_dsu.errors import InputError
from spire_dsu.purity import cluster_purity, joint_counts, measure_purity, phone_purity, pnmi

# phone 0: units 0 0 0 1; phone 1: units 1 1 2 2
UNITS = np.array([0, 0, 0, 1, 1, 1, 2, 2])
PHONES = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def test_worked_example() -> None:
    assert joint_counts(UNITS, PHONES).tolist() == [[3, 1, 0], [0, 2, 2]]
    assert phone_purity(UNITS, PHONES) == (3 + 2 + 2) / 8
    assert cluster_purity(UNITS, PHONES) == (3 + 2) / 8
    # H(phone) = log 2; given units 0 and 2 it is 0, given unit 1 (3 of 8 frames) that of (1/3, 2/3)
    left = 3 / 8 * -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    assert pnmi(UNITS, PHONES) == pytest.approx(1 - left / math.log(2), abs=1e-12)


def test_perfect_units_and_useless_units() -> None:
    perfect = measure_purity(PHONES + 5, PHONES)
    assert (perfect.phone_purity, perfect.cluster_purity) == (1.0, 1.0)
    assert perfect.pnmi == pytest.approx(1.0)
    useless = measure_purity(np.zeros(8, np.int32), PHONES)
    assert (useless.phone_purity, useless.cluster_purity, useless.pnmi) == (0.5, 1.0, 0.0)


def test_independent_labels_share_no_information() -> None:
    units, phones = np.divmod(np.arange(12), 4)
    assert pnmi(units, phones) == pytest.approx(0.0, abs=1e-12)


def test_one_phone_leaves_nothing_unknown() -> None:
    assert pnmi(np.arange(4), np.zeros(4, np.int64)) == 1.0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60))
def test_laws(frames: list[tuple[int, int]]) -> None:
    units, phones = np.array(frames).T
    found = measure_purity(units, phones)
    # names of labels do not matter, nor does the order of frames
    again = measure_purity((5 - units)[::-1], (phones + 3)[::-1])
    assert found.phone_purity == again.phone_purity
    assert found.cluster_purity == again.cluster_purity
    assert found.pnmi == pytest.approx(again.pnmi, abs=1e-9)
    # the two purities are each other with the roles changed
    assert found.phone_purity == cluster_purity(phones, units)
    # splitting units never loses information
    finer = measure_purity(units * 2 + np.arange(units.size) % 2, phones)
    assert finer.pnmi >= found.pnmi - 1e-9
    assert finer.phone_purity >= found.phone_purity
    assert finer.cluster_purity <= found.cluster_purity


@pytest.mark.parametrize(
    ("units", "phones", "said"),
    [
        (np.zeros(2, int), np.zeros(3, int), r"\(2,\) and \(3,\)"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), r"\(2, 2\)"),
        (np.zeros(0, int), np.zeros(0, int), r"\(0,\)"),
        (np.array([0.5]), np.array([1]), "float64"),
        (np.array([1]), np.array([-3]), "-3"),
    ],
)
def test_bad_labels_are_named(units: np.ndarray, phones: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        measure_purity(units, phones)
