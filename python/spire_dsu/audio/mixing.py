"""From blocks of the recording's rate and channels to one array of mono samples at the wanted rate.

Every step gives the same samples whatever the size of the blocks, in memory of a block and the
result.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from spire_dsu.types import Float32

RESAMPLER_QUALITY = "HQ"
CANCELLED = 1e-4
"""A mean whose energy is under this share of its channels' energy is called cancelled (-40 dB)."""

LOUDEST = float(1 << 31)
"""Samples beyond this have no scale of any format; their squares would overflow in an encoder."""

_ROUNDING = 1e-6  # of float32 sums of squares: energy under this share is none
_TRUSTED_HINT = 1 << 24  # 64 MiB, 17 minutes
_GROWTH = 1.5

Channel = int | str
Float64 = npt.NDArray[np.float64]


class Mixer:
    """Makes one channel of several: their mean, or one of them.

    Channels of opposite sign (a swapped wire, a karaoke effect) cancel in the mean and leave
    silence or noise; `cancelled` tells.
    """

    def __init__(self, channels: int, channel: Channel) -> None:
        self._channels = channels
        self._one = 0 if channels == 1 else channel
        self._count = 0
        # Sums and sums of squares of the mean and of all channels, for energies about the mean: a
        # constant offset common to the channels would hide that their sound cancels.
        self._mean_sums = np.zeros(2)
        self._channel_sums = np.zeros((channels, 2))

    def mix(self, block: Float32) -> Float32:
        """float32 [n, channels] -> float32 [n]."""
        if isinstance(self._one, int):
            return block[:, self._one]
        planes = np.ascontiguousarray(block.T)
        # Added one after another, so that the rounding does not depend on how many samples a block
        # has.
        mean: Float32 = planes[0].copy()
        for plane in planes[1:]:
            mean += plane
        mean /= np.float32(self._channels)
        self._count += len(mean)
        self._mean_sums += _sums(mean)
        for sums, plane in zip(self._channel_sums, planes, strict=True):
            sums += _sums(plane)
        return mean

    @property
    def cancelled(self) -> bool:
        """Whether the channels hold sound and their mean does not."""
        if not self._count:
            return False
        mean = float(_energy(self._mean_sums, self._count))
        channels = float(_energy(self._channel_sums, self._count).mean())
        loudest = float(self._channel_sums[:, 1].max()) / self._count
        return channels > _ROUNDING * loudest and mean < CANCELLED * channels


def _sums(samples: Float32) -> tuple[float, float]:
    return float(np.sum(samples, dtype=np.float64)), float(np.einsum("i,i->", samples, samples))


def _energy(sums: Float64, count: int) -> Float64:
    """Energy about the mean, from sums and sums of squares [..., 2]."""
    energy: Float64 = np.maximum(0.0, sums[..., 1] / count - (sums[..., 0] / count) ** 2)
    return energy


def first_unusable(samples: Float32) -> int | None:
    """Index (row of a block) of the first NaN, infinity or value beyond `LOUDEST`; None where all
    are sound.
    """
    if not samples.size or (samples.min() >= -LOUDEST and samples.max() <= LOUDEST):
        return None
    bad = ~(np.abs(samples) <= LOUDEST)
    return int(np.flatnonzero(bad.reshape(len(samples), -1).any(axis=1))[0])


def resampled_length(count: int, rate: int, new_rate: int) -> int:
    """Samples that `count` samples become: count * new_rate / rate, halves up."""
    return (2 * count * new_rate + rate) // (2 * rate)


class Resampler:
    """soxr, fed in blocks: the result is that of one call with everything, bit for bit."""

    def __init__(self, rate: int, new_rate: int) -> None:
        same = rate == new_rate
        self._stream = (
            None
            if same
            else soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality=RESAMPLER_QUALITY)
        )

    def push(self, samples: Float32) -> Float32:
        """float32 [n] in, whatever is ready out."""
        if self._stream is None:
            return samples
        ready: Float32 = self._stream.resample_chunk(np.ascontiguousarray(samples))
        return ready

    def finish(self) -> Float32:
        """What was held back for the end."""
        empty = np.empty(0, np.float32)
        if self._stream is None:
            return empty
        rest: Float32 = self._stream.resample_chunk(empty, last=True)
        return rest


def resample(samples: Float32, rate: int, new_rate: int) -> Float32:
    """float32 [S] at `rate` -> float32 [S'] at `new_rate`, `resampled_length` long; the same array
    at one rate.
    """
    if rate == new_rate:
        return samples
    resampler = Resampler(rate, new_rate)
    return np.concatenate([resampler.push(samples), resampler.finish()])


class Sink:
    """Grows as samples arrive: a header's length is a hint, believed up to a size that does no
    harm.
    """

    def __init__(self, hint: int | None) -> None:
        self._hint = hint or 0
        self._samples = np.empty(min(self._hint or 1 << 18, _TRUSTED_HINT), np.float32)
        self._count = 0

    def append(self, samples: Float32) -> None:
        """Takes float32 [n]."""
        end = self._count + len(samples)
        if end > len(self._samples):
            size = max(end, int(len(self._samples) * _GROWTH))
            if end <= self._hint:
                size = min(size, self._hint)
            # In place where the allocator can: a long recording never exists twice.
            self._samples.resize(size, refcheck=False)
        self._samples[self._count : end] = samples
        self._count = end

    def take(self) -> Float32:
        """float32 [S], all that came; the sink is done."""
        self._samples.resize(self._count, refcheck=False)
        return self._samples
