"""Which rows make which batch, and a batch's tensors.

Row number i of the whole run stands at a place that depends on the seed and on i alone. A batch is
a range of such numbers, cut over micro-batches and processes; so the same rows are learned in the
same updates whatever the number of processes and however often the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spire_training.data.isolation import learned, positions
from spire_training.data.packed import KIND, PADDING, UNITS, PackedRows, order


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch, [B, L] each.

    Attributes:
        tokens: int64, what the model sees.
        labels: int64, the token that follows; 0 where none is learned.
        weights: float32, 1 where that prediction counts, else 0.
        kinds: int64, the kind of the token that follows, 0 where none is learned.
        positions: int64, from 0 in each document; padding is a document of its own.
        real: how many of the tokens are no padding.
    """

    tokens: Tensor
    labels: Tensor
    weights: Tensor
    kinds: Tensor
    positions: Tensor
    real: int


class RowOrder:
    """The row of the folder that stands at each number of the run; one epoch is kept at a time.

    Args:
        seed: decides the order.
        rows: rows in the folder.
    """

    def __init__(self, seed: int, rows: int) -> None:
        self._seed, self._rows = seed, rows
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def row(self, number: int) -> int:
        """The row at a number of the run, counted from 0 over all epochs."""
        epoch, place = divmod(number, self._rows)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, order(self._seed, epoch, self._rows)
        return int(self._order[place])

    def rows(self, first: int, count: int) -> list[int]:
        """The rows at `count` numbers of the run from `first` on."""
        return [self.row(number) for number in range(first, first + count)]


def numbers_of_rank(
    first: int, sequences: int, micro: int, rank: int, ranks: int
) -> Iterator[range]:
    """The numbers of each micro-batch of one data-parallel process, for one update.

    Args:
        first: the number of the update's first row: the sequences consumed before it.
        sequences: the effective batch.
        micro: rows in a micro-batch.
        rank: this process among the data-parallel ones.
        ranks: how many of those there are.

    Yields:
        Ranges of `micro` numbers; together the processes cover `first` to `first + sequences`.
    """
    for start in range(first + rank * micro, first + sequences, ranks * micro):
        yield range(start, start + micro)


def make_batch(
    rows: PackedRows, which: list[int], *, learn_units: bool, device: torch.device
) -> Batch:
    """Reads rows and derives from their marks what is predicted and what sees what.

    Args:
        rows: the packed folder.
        which: the rows to read, B of them.
        learn_units: whether the prediction of a unit counts.
        device: where the tensors go.

    Returns:
        Tensors [B, L].
    """
    read = [rows[row] for row in which]
    tokens_BL = np.stack([tokens for tokens, _ in read]).astype(np.int64)
    marks_BL = np.stack([marks for _, marks in read])
    kinds_BL = (marks_BL & KIND).astype(np.int64)
    # A document's first token is never marked as learned: its neighbour is another document's.
    counts_BL = learned(marks_BL)
    if not learn_units:
        counts_BL &= kinds_BL != UNITS
    counts_BL = _following(counts_BL)

    def tensor(values_BL: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values_BL)).to(device)

    return Batch(
        tokens=tensor(tokens_BL),
        labels=tensor(_following(tokens_BL) * counts_BL),
        weights=tensor(counts_BL.astype(np.float32)),
        kinds=tensor(_following(kinds_BL) * counts_BL),
        positions=tensor(positions(marks_BL)),
        real=int((kinds_BL != PADDING).sum()),
    )


def _following(values_BL: Any) -> Any:
    """[B, L] -> [B, L]: each place gets the value of the next one, the last gets 0."""
    shifted = np.zeros_like(values_BL)
    shifted[:, :-1] = values_BL[:, 1:]
    return shifted
