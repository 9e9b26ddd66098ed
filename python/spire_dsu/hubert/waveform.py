"""The waveform at zero mean and unit variance, as HuBERT was trained to hear it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

# Samples added up in one go: so few PyTorch adds in one thread, in one order.
_BLOCK = 1 << 15
_BLOCKS = 64  # at a time, to bound the memory in float64


class Normalised:
    """A waveform brought to zero mean and unit variance, made slice by slice.

    Mean and variance are those of the whole, in float64, whatever slices are asked for; a slice is
    rounded to float32 once. fairseq and transformers do all of it in float32.
    """

    def __init__(self, wave_S: Tensor, eps: float | None) -> None:
        """Args: wave_S: float32 [S], S > 0; eps: added to the variance, None to leave the wave as
        it is."""
        self._wave = wave_S
        self._mean, self._factor = 0.0, 1.0
        if eps is None:
            return
        length = wave_S.shape[0]
        self._mean = _sum(wave_S, lambda part: part) / length
        variance = _sum(wave_S, lambda part: (part - self._mean).square_()) / length
        self._factor = (variance + eps) ** -0.5

    @property
    def moments(self) -> tuple[float, float]:
        """What is subtracted, and what is multiplied with after."""
        return self._mean, self._factor

    def slice(self, start: int, stop: int) -> Tensor:
        """float32 [stop - start]."""
        part = self._wave[start:stop].double()
        return part.sub_(self._mean).mul_(self._factor).float()


def _sum(wave: Tensor, of: Callable[[Tensor], Tensor]) -> float:
    """The sum of a function of the samples in float64, in an order that no thread count changes."""
    total = 0.0
    for start in range(0, wave.shape[0], _BLOCKS * _BLOCK):
        part = of(wave[start : start + _BLOCKS * _BLOCK].double())
        whole = part.shape[0] // _BLOCK * _BLOCK
        total += float(part[:whole].view(-1, _BLOCK).sum(1).sum() + part[whole:].sum())
    return total
