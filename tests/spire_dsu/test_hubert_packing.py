"""Where utterances lie in a pack of constant size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spire_dsu.hubert.architecture import Architecture
from spire_dsu.hubert.packing import (
    FRAMES_A_BLOCK,
    QUERIES,
    Layout,
    PackIndex,
    PackShape,
    fill,
    place,
    views,
)

ROOM = 2_000
LENGTHS = st.lists(st.integers(400, 120_000), min_size=1, max_size=12).filter(
    lambda lengths: sum(-(-length // 320) for length in lengths) <= ROOM
)
SHAPES = st.sampled_from([1, 7, 16, 128]).map(
    lambda kernel: PackShape(Architecture(num_conv_pos_embeddings=kernel), ROOM, 12)
)


def index_of(shape: PackShape, lengths: list[int]) -> tuple[Layout, PackIndex]:
    """An index written over the remains of another pack."""
    numbers = np.full(shape.size(), -77, np.int32)
    layout = place(shape, lengths)
    fill(numbers, shape, layout, lengths, [True] * len(lengths))
    assert not (numbers == -77).any()
    return layout, views(shape, torch.from_numpy(numbers))


@settings(max_examples=60, deadline=None)
@given(SHAPES, LENGTHS)
def test_frames_see_only_samples_of_their_own_utterance(
    shape: PackShape, lengths: list[int]
) -> None:
    layout, index = index_of(shape, lengths)
    for start, length, (first, last) in zip(
        layout.starts, lengths, pairwise(layout.row_splits), strict=True
    ):
        assert last - first == (length - 400) // 320 + 1
        slots = index.slot_of_row[first:last].long()
        assert (slots * 320 >= start * 320).all()
        assert (slots * 320 + 400 <= start * 320 + length).all()
        assert slots.tolist() == list(range(start, start + last - first))
    for (start, length), (following, _) in pairwise(zip(layout.starts, lengths, strict=True)):
        assert start * 320 + length <= following * 320
    assert layout.starts[-1] * 320 + lengths[-1] <= shape.samples
    assert index.extents[: len(lengths)].tolist() == [
        [start * 320, length] for start, length in zip(layout.starts, lengths, strict=True)
    ]
    assert (index.extents[len(lengths) :] == 0).all()
    for number, (start, length) in enumerate(zip(layout.starts, lengths, strict=True)):
        owners = index.utterance_of_slot[start : start - (-length // 320)]
        assert (owners == number).all()


@settings(max_examples=60, deadline=None)
@given(SHAPES, LENGTHS)
def test_the_positional_convolution_hears_no_neighbour(
    shape: PackShape, lengths: list[int]
) -> None:
    kernel = shape.arch.num_conv_pos_embeddings
    layout, index = index_of(shape, lengths)
    laid = index.row_of_spaced.tolist()
    for first, last in pairwise(layout.row_splits):
        for row in {first, (first + last) // 2, last - 1}:
            seen = laid[int(index.spaced_of_row[row]) :][:kernel]
            wanted = range(row - kernel // 2, row - kernel // 2 + kernel)
            assert seen == [other if first <= other < last else -1 for other in wanted]
            block = int(index.spaced_of_row[row]) // FRAMES_A_BLOCK * FRAMES_A_BLOCK
            multiplied = set(laid[block : block + FRAMES_A_BLOCK + kernel - 1])
            assert multiplied <= {-1, *range(first, last)}
    used = int(index.used_blocks[0])
    assert used <= shape.blocks
    assert index.spaced_of_row.max() < used * FRAMES_A_BLOCK
    assert shape.blocks * FRAMES_A_BLOCK + kernel - 1 == shape.spaced


@settings(max_examples=60, deadline=None)
@given(LENGTHS)
def test_each_row_is_asked_for_once_and_among_its_own(lengths: list[int]) -> None:
    shape = PackShape(Architecture(), ROOM, 12)
    layout, index = index_of(shape, lengths)
    asked = []
    sizes = []
    for query, start, stop in index.tiles.tolist():
        if start < stop:
            assert (start, stop) in list(pairwise(layout.row_splits))
            assert (query - start) % QUERIES == 0
            asked += range(query, min(query + QUERIES, stop))
            sizes.append(stop - start)
    assert sorted(asked) == list(range(layout.row_splits[-1]))
    assert sizes == sorted(sizes, reverse=True)
