"""Where long audio is cut: which samples one pass sees, and which of its frames are kept.

A cut depends on the number of samples alone, so an utterance is cut in the same way in any company.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from spire_dsu.config import ChunkingConfig
from spire_dsu.errors import ConfigError
from spire_dsu.hubert.architecture import Architecture
from spire_dsu.types import SAMPLING_RATE


@dataclass(frozen=True, slots=True)
class Span:
    """One pass: samples [start, stop) go in; of its frames, [first, last) are kept."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def num_frames(self) -> int:
        """Frames that are kept."""
        return self.last - self.first


def cut(num_samples: int, arch: Architecture, chunking: ChunkingConfig) -> list[Span]:
    """The passes for an utterance, in order. Empty where there is no frame.

    "overlap" keeps each frame from exactly one window, so that their number is that of the uncut
    audio. All windows of an utterance are of one length; neighbours share at least
    `overlap_seconds`, and the seam lies in the middle of what they share, so that each frame kept
    has at least half of it as context on both sides. Windows start at multiples of the hop, which
    puts their frames on the grid of the uncut audio.

    "fairseq" cuts hard at multiples of `window_seconds`, which loses a frame at each cut; a tail
    without a frame is dropped (fairseq crashes on it).

    Raises:
        ConfigError: the window is too short for a frame and its context.
    """
    total = arch.num_frames(num_samples)
    if total == 0:
        return []
    limit = round(chunking.window_seconds * SAMPLING_RATE)
    if chunking.policy == "none" or num_samples <= limit:
        return [Span(0, num_samples, 0, total)]
    if chunking.policy == "fairseq":
        return list(_hard_cuts(num_samples, limit, arch))
    shared = round(chunking.overlap_seconds * SAMPLING_RATE / arch.hop)
    longest = arch.num_frames(limit)
    if longest <= shared:
        raise ConfigError(
            f"window_seconds {chunking.window_seconds} holds {longest} frames, overlap_seconds "
            f"{chunking.overlap_seconds} takes {shared} of them"
        )
    return _windows(num_samples, total, longest, shared, arch)


def _windows(
    num_samples: int, total: int, longest: int, shared: int, arch: Architecture
) -> list[Span]:
    if total <= longest:  # over the limit by less than a hop: the same frames as without the rest
        return [Span(0, num_samples, 0, total)]
    count = -(-(total - shared) // (longest - shared))
    length = -(-(total + shared * (count - 1)) // count)
    starts = [index * (total - length) // (count - 1) for index in range(count)]
    # The seam between two windows: the middle of what they share.
    seams = [0, *((a + length + b + 1) // 2 for a, b in pairwise(starts)), total]
    return [
        Span(
            start * arch.hop,
            num_samples if index == count - 1 else start * arch.hop + arch.samples_of(length),
            seams[index] - start,
            seams[index + 1] - start,
        )
        for index, start in enumerate(starts)
    ]


def _hard_cuts(num_samples: int, limit: int, arch: Architecture) -> Iterator[Span]:
    for start in range(0, num_samples, limit):
        stop = min(start + limit, num_samples)
        frames = arch.num_frames(stop - start)
        if frames:
            yield Span(start, stop, 0, frames)
