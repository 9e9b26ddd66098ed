"""The types that flow: frame arithmetic, runs, text forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spire_dsu.errors import InputError, SpireError
from spire_dsu.types import Units, num_frames


def units(ids: list[int], durations: list[int]) -> Units:
    return Units(np.array(ids, np.int32), np.array(durations, np.int32))


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (399, 0), (400, 1), (401, 1), (719, 1), (720, 2), (16_000, 49), (1_600_000, 4999)],
)
def test_frames_of_known_lengths(samples: int, frames: int) -> None:
    assert num_frames(samples) == frames


@given(st.integers(0, 10_000_000))
def test_frames_equal_the_seven_convolutions(samples: int) -> None:
    length = samples
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        length = (length - kernel) // stride + 1 if length >= kernel else 0
    assert num_frames(samples) == length


def test_units_know_their_frames() -> None:
    some = units([17, 4, 17], [2, 1, 3])
    assert len(some) == 3
    assert some.num_frames == 6
    assert some.starts.tolist() == [0, 2, 3]
    assert some.to_frames().tolist() == [17, 17, 4, 17, 17, 17]
    assert some == units([17, 4, 17], [2, 1, 3])
    assert some != units([17, 4, 17], [2, 1, 2])


def test_no_units_are_units_too() -> None:
    none = units([], [])
    assert (len(none), none.num_frames, none.to_text(), none.to_text("pua")) == (0, 0, "", "")


def test_text_forms() -> None:
    some = units([17, 4, 4999], [1, 1, 1])
    assert some.to_text() == "<extra_id_17><extra_id_4><extra_id_4999>"
    assert some.to_text("pua") == "\U000f0011\U000f0004\U000f1387"
    assert [len(c.encode()) for c in some.to_text("pua")] == [4, 4, 4]


@pytest.mark.parametrize("form", ["", "PUA", "text"])
def test_an_unknown_text_form_is_named(form: str) -> None:
    with pytest.raises(InputError, match=repr(form)):
        units([1], [1]).to_text(form)


def test_a_unit_beyond_the_private_use_area_is_refused_by_value() -> None:
    assert units([65_533], [1]).to_text("pua") == "\U000ffffd"
    with pytest.raises(InputError, match="65534"):
        units([65_534], [1]).to_text("pua")


def test_ids_and_durations_must_belong_together() -> None:
    with pytest.raises(SpireError, match=r"\(2,\) and \(1,\)"):
        units([1, 2], [1])


def test_every_error_is_a_value_error() -> None:
    assert issubclass(SpireError, ValueError)
    assert issubclass(InputError, SpireError)
