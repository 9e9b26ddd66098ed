"""Best fit: nothing lost, nothing over the border, rows well filled, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spire_training.data import isolation
from spire_training.data.packed import LEARNED, MONOLINGUAL, START, fault_of
from spire_training.data.packing import BestFit, Document

LENGTH = 32


def document(number: int, size: int) -> Document:
    marks = np.full(size, LEARNED | MONOLINGUAL, np.uint8)
    marks[0] = START | MONOLINGUAL
    return np.full(size, number, np.int32), marks


def packed(sizes: list[int], open_rows: int) -> tuple[list[Document], BestFit]:
    packer = BestFit(LENGTH, open_rows, 7_000)
    rows = []
    for number, size in enumerate(sizes):
        rows += list(packer.add(*document(number, size)))
    return rows + list(packer.finish()), packer


@settings(max_examples=60)
@given(st.lists(st.integers(1, LENGTH), max_size=60), st.integers(1, 6))
def test_every_document_is_whole_and_once(sizes: list[int], open_rows: int) -> None:
    rows, packer = packed(sizes, open_rows)
    found = {}
    for tokens, marks in rows:
        ends = np.cumsum(isolation.lengths(marks))
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            part = tokens[start:end]
            if marks[start] & START:
                assert len(set(part.tolist())) == 1
                assert part[0] not in found
                found[int(part[0])] = part.size
            else:
                assert (part == 7_000).all()
                assert (marks[start:end] == 0).all()
                assert end == LENGTH
    assert found == dict(enumerate(sizes))
    assert packer.packing.rows == len(rows)
    assert packer.packing.documents == len(sizes)
    assert packer.packing.tokens == sum(sizes)
    if rows:
        tokens_NL, marks_NL = (np.stack(part) for part in zip(*rows, strict=True))
        assert fault_of(tokens_NL, marks_NL, 7_001) is None
        assert packer.packing.fill(LENGTH) == pytest.approx(sum(sizes) / (LENGTH * len(rows)))


def test_the_fullest_row_that_fits_is_taken() -> None:
    rows, _ = packed([20, 26, 6, 12], 4)
    contents = sorted(sorted(set(tokens.tolist()) - {7_000}) for tokens, _ in rows)
    assert contents == [[0, 3], [1, 2]]  # 26 + 6 and 20 + 12, both full


def test_a_row_is_closed_when_too_many_are_open() -> None:
    packer = BestFit(LENGTH, 2, 0)
    assert list(packer.add(*document(1, 30))) == []
    assert list(packer.add(*document(2, 25))) == []
    (closed,) = packer.add(*document(3, 20))
    assert set(closed[0][:30].tolist()) == {1}  # the fullest


def test_rows_are_well_filled() -> None:
    sizes = np.random.default_rng(0).integers(1, LENGTH // 2, 3000).tolist()
    _, packer = packed(sizes, 64)
    assert packer.packing.fill(LENGTH) > 0.99


def test_nothing_makes_no_row() -> None:
    rows, packer = packed([], 3)
    assert rows == []
    assert packer.packing.fill(LENGTH) == 0.0
