"""Document isolation: a token of a packed row sees its own document, and positions restart there.

Restarting positions alone does not isolate, and a mask alone leaves the positions of later
documents where no single document has them: both are needed, for Hugging Face models (`mask`,
`positions`) as for megatron-core (`lengths`, as cumulative sequence lengths of packed attention).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spire_dsu.types import Int32, Int64
from spire_training.data.packed import KIND, LEARNED, PADDING, START, Marks


def documents(marks_L: Marks) -> Int32:
    """int32 [L], the number of each token's document in the row, from 0; padding is one of its own.

    Args:
        marks_L: the marks of a row; also [N, L] for a batch.
    """
    padding = (marks_L & KIND) == PADDING
    begins = ((marks_L & START) != 0) | (padding & ~_shifted(padding))
    numbers: Int32 = np.cumsum(begins, axis=-1, dtype=np.int32) - np.int32(1)
    return numbers


def positions(marks_L: Marks) -> Int64:
    """int64 [L], each token's place in its document; also [N, L] for a batch."""
    numbers = documents(marks_L)
    places = np.broadcast_to(np.arange(numbers.shape[-1], dtype=np.int64), numbers.shape)
    begins = np.ones(numbers.shape, bool)
    begins[..., 1:] = numbers[..., 1:] != numbers[..., :-1]
    starts = np.maximum.accumulate(np.where(begins, places, 0), axis=-1)
    relative: Int64 = places - starts
    return relative


def mask(marks_L: Marks) -> npt.NDArray[np.bool_]:
    """bool [L, L], True where the row's token may see the column's; [N, L, L] for a batch.

    Causal within a document, nothing across. Padding sees earlier padding: a softmax over nothing
    would be NaN.
    """
    numbers = documents(marks_L)
    same = numbers[..., :, None] == numbers[..., None, :]
    seen: npt.NDArray[np.bool_] = same & np.tri(numbers.shape[-1], dtype=bool)
    return seen


def lengths(marks_L: Marks) -> Int64:
    """int64 [documents], tokens of each document of one row in order, the padding as the last."""
    counts: Int64 = np.bincount(documents(marks_L)).astype(np.int64)
    return counts


def learned(marks_L: Marks) -> npt.NDArray[np.bool_]:
    """bool [L], True where the loss counts when this token is to be predicted."""
    return np.asarray((marks_L & LEARNED) != 0)


def _shifted(values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The value before each; False before the first."""
    before = np.zeros_like(values)
    before[..., 1:] = values[..., :-1]
    return before
