"""Where the utterances of one pass lie: arrays of constant size for a pass that never changes.

A pass on a GPU has room for a fixed number of frames and utterances, so that it is one CUDA graph,
and so that every matrix product has the same number of rows whatever is encoded: a row's features
then do not depend on its neighbours. Three layouts follow one another:

* the stream: samples. An utterance begins at a multiple of the hop (320 samples), so its frame t is
  the stream's frame start + t. The one or two frames that reach over its end are made and left.
* rows: the valid frames, closed up; after them come rows that belong to nobody.
* the spaced rows of the positional convolution: zero rows before each utterance, half a kernel and
  what a block of frames reaches further (71 for a kernel of 128). Nothing of a neighbour is then
  multiplied even with the zeros of a block's weight, which matters where it is infinite.

All numbers a pass needs about its utterances lie in one int32 array, for one copy to the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from torch import Tensor

from spire_dsu.hubert.architecture import Architecture
from spire_dsu.types import Int32

QUERIES = 128
"""Rows of queries that one program of the attention takes."""

FRAMES_A_BLOCK = 8
"""Frames that one row of the positional convolution's product makes."""


@dataclass(frozen=True, slots=True)
class PackShape:
    """What one pass has room for, and the sizes that follow.

    Attributes:
        arch: the model's shape.
        frames: room in frames of the stream.
        utterances: room in utterances.
    """

    arch: Architecture
    frames: int
    utterances: int

    @property
    def samples(self) -> int:
        """Samples of the stream.

        The last of its frames would reach over its end, as the last of every utterance does. So
        each convolution makes just under a power of two times `frames` rows: whole tiles, no wave
        of programs for a few rows more.
        """
        return self.frames * self.arch.hop

    @property
    def tiles(self) -> int:
        """Programs of the attention, per head, at most."""
        return -(-self.frames // QUERIES) + self.utterances

    @property
    def gap(self) -> int:
        """Zero rows before each utterance among the spaced rows."""
        return self.arch.num_conv_pos_embeddings // 2 + FRAMES_A_BLOCK - 1

    @property
    def blocks(self) -> int:
        """Rows of the positional convolution's product, at most."""
        return -(-(self.frames + self.gap * self.utterances) // FRAMES_A_BLOCK)

    @property
    def spaced(self) -> int:
        """Spaced rows that those blocks read."""
        return FRAMES_A_BLOCK * self.blocks + self.arch.num_conv_pos_embeddings - 1

    def slots(self, num_samples: int) -> int:
        """Frames of the stream that an utterance takes."""
        return -(-num_samples // self.arch.hop)

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The parts of a `PackIndex`, in the order in which they lie."""
        return {
            "slot_of_row": (self.frames,),
            "utterance_of_slot": (self.frames,),
            "spaced_of_row": (self.frames,),
            "row_of_spaced": (self.spaced,),
            "tiles": (self.tiles, 3),
            "extents": (self.utterances, 2),
            "used_blocks": (1,),
        }

    def size(self) -> int:
        """Numbers in all parts."""
        return sum(int(np.prod(shape)) for shape in self.sizes().values())


@dataclass(frozen=True, slots=True)
class PackIndex:
    """The parts of one int32 array in device memory, as views.

    Attributes:
        slot_of_row: [frames] the stream's frame that a row is; 0 for rows of nobody.
        utterance_of_slot: [frames] whose audio a frame of the stream begins in; the last for none.
        spaced_of_row: [frames] where the positional convolution puts a row's output.
        row_of_spaced: [spaced] the row that lies there, -1 for zeros.
        tiles: [tiles, 3] first row of queries, begin and end of its utterance; zeros where unused.
        extents: [utterances, 2] first sample and number of samples; 0 samples where mean and
            factor are given.
        used_blocks: [1] rows of the positional convolution's product that matter.
    """

    slot_of_row: Tensor
    utterance_of_slot: Tensor
    spaced_of_row: Tensor
    row_of_spaced: Tensor
    tiles: Tensor
    extents: Tensor
    used_blocks: Tensor


def views(shape: PackShape, numbers: Tensor) -> PackIndex:
    """The parts of an int32 tensor [shape.size()]."""
    parts, start = {}, 0
    for name, size in shape.sizes().items():
        stop = start + int(np.prod(size))
        parts[name] = numbers[start:stop].view(size)
        start = stop
    return PackIndex(**parts)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each utterance of a pass lies.

    Attributes:
        starts: the stream's frame at which each begins.
        row_splits: 0, and the end of each in rows.
    """

    starts: tuple[int, ...]
    row_splits: tuple[int, ...]


def place(shape: PackShape, lengths: Sequence[int]) -> Layout:
    """Utterances of so many samples each, every one of at least one frame, one after another."""
    arch = shape.arch
    ends = [0, *accumulate(shape.slots(length) for length in lengths)]
    assert ends[-1] <= shape.frames, "more audio than the pack holds"
    assert len(lengths) <= shape.utterances, "more utterances than the pack holds"
    rows = [0, *accumulate(arch.num_frames(length) for length in lengths)]
    return Layout(tuple(ends[:-1]), tuple(rows))


def fill(
    numbers: Int32,
    shape: PackShape,
    layout: Layout,
    lengths: Sequence[int],
    measured: Sequence[bool],
) -> None:
    """Writes the index of a layout into an int32 array [shape.size()].

    Args:
        measured: for each utterance whether the pass computes its mean and variance.
    """
    arch = shape.arch
    starts, splits = np.array(layout.starts), np.array(layout.row_splits)
    begins, counts = splits[:-1], np.diff(splits)
    total, number = int(splits[-1]), len(starts)
    parts, start = {}, 0
    for name, size in shape.sizes().items():
        stop = start + int(np.prod(size))
        parts[name] = numbers[start:stop].reshape(size)
        start = stop
    owner = np.repeat(np.arange(number), counts)
    within = np.arange(total) - begins[owner]
    parts["slot_of_row"][:] = 0
    parts["slot_of_row"][:total] = starts[owner] + within
    taken = np.diff(np.append(starts, starts[-1] + shape.slots(lengths[-1])))
    parts["utterance_of_slot"][:] = shape.utterances - 1
    parts["utterance_of_slot"][: taken.sum()] = np.repeat(np.arange(number), taken)
    laid = np.arange(total) + shape.gap * (owner + 1)
    made = laid - arch.num_conv_pos_embeddings // 2
    parts["spaced_of_row"][:] = 0
    parts["spaced_of_row"][:total] = made
    parts["row_of_spaced"][:] = -1
    parts["row_of_spaced"][laid] = np.arange(total)
    parts["tiles"][:] = 0
    found = _tiles(begins, counts)
    parts["tiles"][: len(found)] = found
    parts["extents"][:] = 0
    parts["extents"][:number, 0] = starts * arch.hop
    parts["extents"][:number, 1] = np.where(measured, lengths, 0)
    parts["used_blocks"][:] = made[-1] // FRAMES_A_BLOCK + 1


def _tiles(begins: Int32, counts: Int32) -> Int32:
    """[n, 3] first query, begin and end; the longest utterances first, for they finish last."""
    number = -(-counts // QUERIES)
    owner = np.repeat(np.arange(len(counts)), number)
    nth = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    rows = np.stack([begins[owner] + nth * QUERIES, begins[owner], (begins + counts)[owner]], 1)
    ordered: Int32 = rows[np.argsort(-counts[owner], kind="stable")].astype(np.int32)
    return ordered
