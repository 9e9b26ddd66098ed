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
    ours, theirs = [0], [0]
    for block in matcher.get_matching_blocks():
        for k in range(block.size):
            for ties, utterance, phone in (
                (ours, spoken, block.a + k),
                (theirs, teacher, block.b + k),
            ):
                ends = (*utterance.starts[1:], utterance.samples)
                ties += [utterance.starts[phone], ends[phone]]
    ours.append(spoken.samples)
    theirs.append(teacher.samples)
    said = np.interp(middles(num_frames(spoken.samples)), ours, theirs)
    return nearest_frames(said, num_frames(teacher.samples))
