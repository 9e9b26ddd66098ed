"""A packed row becomes the model's inputs, and a step's number the rows that it learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from spire_dsu.types import Int32
from spire_training.data import isolation
from spire_training.data.packed import KIND, PADDING, Marks, order

NOT_LEARNED = -100
BLANK = -1
"""The number of a row of padding: it fills the last batch, and nothing is learned from it."""

Batch = dict[str, torch.Tensor]


class Rows(Protocol):
    """Packed rows, as `spire_training.data.packed.PackedRows` has them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Int32, Marks]: ...


class Collator:
    """Turns rows into a batch; a callable for torch's DataLoader.

    Args:
        length: tokens of a row, for blank ones.
    """

    def __init__(self, length: int) -> None:
        self._length = length

    def __call__(self, rows: Sequence[tuple[Int32, Marks] | None]) -> Batch:
        """Makes int64 [B, L] tensors.

        Returns:
            input_ids; position_ids, which restart at each document; labels, `NOT_LEARNED` where a
            token is not learned, a document's first one always; kinds, what each token is.
        """
        blank = np.zeros(self._length, np.int32), np.full(self._length, PADDING, np.uint8)
        filled = [blank if row is None else row for row in rows]
        ids_BL = np.stack([ids for ids, _ in filled]).astype(np.int64)
        marks_BL = np.stack([marks for _, marks in filled])
        positions_BL = isolation.positions(marks_BL)
        learned_BL = isolation.learned(marks_BL) & (positions_BL > 0)
        return {
            "input_ids": torch.from_numpy(ids_BL),
            "position_ids": torch.from_numpy(positions_BL),
            "labels": torch.from_numpy(np.where(learned_BL, ids_BL, NOT_LEARNED)),
            "kinds": torch.from_numpy((marks_BL & KIND).astype(np.int64)),
        }


class RowSet(torch.utils.data.Dataset[tuple[Int32, Marks] | None]):
    """Rows by number, None for `BLANK`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Int32, Marks] | None:
        return None if index == BLANK else self._rows[index]


class Schedule:
    """Which rows make a step: a function of seed, epochs and batch alone.

    The epochs stand one behind the other, and a step takes the next `batch_rows` rows, whatever
    the number of processes; the last step may hold blank ones.

    Attributes:
        rows_per_epoch: how many rows there are.
        steps: how many there are.
    """

    def __init__(self, rows: int, *, epochs: int, seed: int, batch_rows: int) -> None:
        self.rows_per_epoch = rows
        self._seed, self._batch = seed, batch_rows
        self._total = rows * epochs
        self.steps = -(-self._total // batch_rows)
        self._known: tuple[int, npt.NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def rows(self, step: int) -> list[int]:
        """Numbers of the rows of a step, counted from 0; `BLANK` behind the last one."""
        first = step * self._batch
        return [self._row(place) for place in range(first, first + self._batch)]

    def _row(self, place: int) -> int:
        if place >= self._total:
            return BLANK
        epoch, index = divmod(place, self.rows_per_epoch)
        if self._known[0] != epoch:
            self._known = epoch, order(self._seed, epoch, self.rows_per_epoch)
        return int(self._known[1][index])


class RankBatches(torch.utils.data.Sampler[list[int]]):
    """The micro-batches of one process, in order, for torch's DataLoader."""

    def __init__(
        self, schedule: Schedule, *, steps: int, micro_batch: int, rank: int, processes: int
    ) -> None:
        self._schedule, self._steps, self._size = schedule, steps, micro_batch
        self._rank, self._processes = rank, processes
        self._share = len(schedule.rows(0)) // (micro_batch * processes)

    def __len__(self) -> int:
        return self._steps * self._share

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._steps):
            rows = self._schedule.rows(step)
            mine = rows[self._rank :: self._processes]
            for first in range(0, len(mine), self._size):
                yield mine[first : first + self._size]
