"""Any cutting of a ragged batch into blocks gives what quantize gives for the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import MULTIPLIER

from spire_dsu import units

# One dim and three centroids: frames are their own units, and runs are long.
CENTROIDS = np.array([[0.0], [1.0], [2.0]], np.float32)


def frames(*ids: int) -> np.ndarray:
    return np.array(ids, np.float32).reshape(-1, 1)


def as_lists(result: tuple) -> list[list[int]]:
    return [part.tolist() for part in result]


def joined(results: list[tuple]) -> list[list[int]]:
    """Ragged batches put one after another."""
    lengths = [np.diff(splits) for _, _, splits in results]
    return [
        np.concatenate([part[0] for part in results]).tolist(),
        np.concatenate([part[1] for part in results]).tolist(),
        np.cumsum(np.concatenate([[0], *lengths])).tolist(),
    ]


def test_a_run_carries_on_over_a_border() -> None:
    stream = units.StreamingQuantizer(CENTROIDS)
    first = stream.push(frames(1, 1, 0), [0, 2, 3], last_row_continues=True)
    assert as_lists(first) == [[1], [2], [0, 1]]
    assert as_lists(stream.push(frames(0, 0), [0, 2], last_row_continues=True)) == [[], [], [0]]
    last = stream.push(frames(0, 2, 1), [0, 2, 3])
    assert as_lists(last) == [[0, 2, 1], [4, 1, 1], [0, 2, 3]]
    assert as_lists(stream.finish()) == [[], [], [0]]


def test_finish_returns_the_utterance_still_open_and_starts_afresh() -> None:
    stream = units.StreamingQuantizer(units.Codebook(CENTROIDS))
    stream.push(frames(2, 2), [0, 2], last_row_continues=True)
    assert as_lists(stream.finish()) == [[2], [2], [0, 1]]
    assert as_lists(stream.finish()) == [[], [], [0]]
    assert as_lists(stream.push(frames(2), [0, 1])) == [[2], [1], [0, 1]]


def test_rows_that_end_at_a_border_do_not_run_on() -> None:
    stream = units.StreamingQuantizer(CENTROIDS)
    assert as_lists(stream.push(frames(1), [0, 1])) == [[1], [1], [0, 1]]
    assert as_lists(stream.push(frames(1), [0, 1])) == [[1], [1], [0, 1]]


def test_a_failed_push_changes_nothing() -> None:
    stream = units.StreamingQuantizer(CENTROIDS)
    stream.push(frames(1, 1), [0, 2], last_row_continues=True)
    with pytest.raises(units.InputError, match="row 0 "):
        stream.push(np.array([[np.nan]], np.float32), [0, 1])
    with pytest.raises(units.InputError, match="entry 1 is 3"):
        stream.push(frames(1), [0, 3])
    assert as_lists(stream.push(frames(1), [0, 1])) == [[1], [3], [0, 1]]


def test_a_block_without_rows() -> None:
    stream = units.StreamingQuantizer(CENTROIDS)
    assert as_lists(stream.push(frames(), [0])) == [[], [], [0]]
    with pytest.raises(units.InputError, match="no row"):
        stream.push(frames(), [0], last_row_continues=True)
    stream.push(frames(1), [0, 1], last_row_continues=True)
    assert as_lists(stream.push(frames(), [0], last_row_continues=True)) == [[], [], [0]]
    assert as_lists(stream.push(frames(1), [0, 1])) == [[1], [2], [0, 1]]


@settings(max_examples=300 * MULTIPLIER, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 2), max_size=7),  # the frames of an utterance
            st.lists(st.integers(0, 7), max_size=3),  # where blocks end inside of it
            st.booleans(),  # whether a block ends after it
        ),
        max_size=6,
    )
)
def test_any_cutting_gives_the_same(rows: list[tuple[list[int], list[int], bool]]) -> None:
    blocks: list[tuple[list[list[int]], bool]] = []
    block: list[list[int]] = []
    for ids, cuts, ends in rows:
        start = 0
        for cut in sorted(min(cut, len(ids)) for cut in cuts):
            blocks.append(([*block, ids[start:cut]], True))
            block, start = [], cut
        block.append(ids[start:])
        if ends:
            blocks.append((block, False))
            block = []
    blocks.append((block, False))

    stream = units.StreamingQuantizer(CENTROIDS, threads=1)
    results = []
    for pieces, continues in blocks:
        splits = np.cumsum([0, *map(len, pieces)])
        features = frames(*itertools.chain.from_iterable(pieces))
        results.append(stream.push(features, splits, last_row_continues=continues))
    results.append(stream.finish())

    splits = np.cumsum([0, *(len(ids) for ids, _, _ in rows)])
    features = frames(*itertools.chain.from_iterable(ids for ids, _, _ in rows))
    assert joined(results) == as_lists(units.quantize(features, splits, CENTROIDS))
