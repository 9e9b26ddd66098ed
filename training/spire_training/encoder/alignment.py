"""One text spoken by two voices: which frame of the one belongs to which frame of the other.

Both synthesisers say when each phone begins. Phones that both voices say are tied to each other,
and time between them runs evenly.
"""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt

from spire_dsu.types import FRAME_SAMPLES, HOP_SAMPLES, Int64, num_frames
from spire_training.encoder.corpus import Utterance


def nearest_frames(samples: npt.NDArray[np.float64], available: int) -> Int64:
    """int64: for each sample number, which of the `available` frames has its middle nearest."""
    frames = np.rint((samples - FRAME_SAMPLES / 2) / HOP_SAMPLES).astype(np.int64)
    return np.clip(frames, 0, available - 1)


def middles(frames: int) -> npt.NDArray[np.float64]:
    """float64 [frames]: the sample in the middle of each frame."""
    return np.arange(frames, dtype=np.float64) * HOP_SAMPLES + FRAME_SAMPLES / 2


def frames_of(teacher: Utterance, spoken: Utterance) -> Int64:
    """int64 [T]: for each frame of `spoken`, the frame of `teacher` where the same is said."""
    matcher = SequenceMatcher(None, spoken.labels, teacher.labels, autojunk=False)
    borders, teachers = (*spoken.starts, spoken.samples), (*teacher.starts, teacher.samples)
    ours, theirs = [0], [0]
    for first, other, count in matcher.get_matching_blocks():
        # From the first phone's start to the last one's end; the closing block, of none, ties ends.
        ours += borders[first : first + count + 1]
        theirs += teachers[other : other + count + 1]
    said = np.interp(middles(num_frames(spoken.samples)), ours, theirs)
    return nearest_frames(said, num_frames(teacher.samples))
