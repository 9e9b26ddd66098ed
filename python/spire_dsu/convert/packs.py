"""The encoder, within what memory there is: several utterances a call where that pays."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Generic, TypeVar

from spire_dsu.errors import AudioError, InputError, Reason
from spire_dsu.types import Float32, Units

T = TypeVar("T")
Wave = TypeVar("Wave", bound=Sized)
Result = TypeVar("Result")
Encode = Callable[[list[Float32]], list[Units]]
"""Waveforms [S] in, their units out, in order."""

_NO_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class Packs(Generic[Wave, Result]):
    """Cuts a stream of rows into calls of the encoder.

    Attributes:
        limit: samples that one call may hold; a longer utterance has a call of its own. Halved
            whenever the memory did not suffice. 0: one utterance a call.
    """

    def __init__(self, encode: Callable[[list[Wave]], list[Result]], limit: int) -> None:
        self._encode = encode
        self.limit = limit

    def cut(self, rows: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
        """The rows in their order, in lists whose sizes add up to `limit` at most."""
        pack: list[T] = []
        total = 0
        for row in rows:
            if pack and total + size(row) > self.limit:
                yield pack
                pack, total = [], 0
            pack.append(row)
            total += size(row)
        if pack:
            yield pack

    def encode(self, waves: list[Wave]) -> list[Result | AudioError]:
        """The result of each, or why it has none. What fails together is tried in parts."""
        try:
            return list(self._encode(waves))
        except InputError as error:
            if len(waves) == 1:
                return [AudioError(Reason.NON_FINITE, f"the encoder makes no features: {error}")]
            return [result for wave in waves for result in self.encode([wave])]
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            self.limit = min(self.limit, sum(map(len, waves))) // 2
        # Here the failed call's arrays are gone with its traceback.
        _release()
        if len(waves) > 1:
            parts = self.cut(waves, len)
            return [result for part in parts for result in self.encode(part)]
        try:
            return list(self._encode(waves))
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            text = f"{len(waves[0])} samples by themselves are more than the memory takes"
        _release()
        return [AudioError(Reason.TOO_LONG, text)]


def _is_out_of_memory(error: BaseException) -> bool:
    """Of a GPU it is torch.OutOfMemoryError, of the host MemoryError or a RuntimeError of torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(text in str(error) for text in _NO_MEMORY)


def _release() -> None:
    """Gives memory back that torch keeps for itself."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
