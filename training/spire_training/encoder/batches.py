"""Batches of random crops: distorted speech, its targets, and what is hidden. Batch b is a function
of the seed and b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spire_dsu.types import HOP_SAMPLES, SAMPLING_RATE, num_frames
from spire_training.encoder.acoustics import Acoustics
from spire_training.encoder.corpus import Split
from spire_training.encoder.masking import span_mask
from spire_training.encoder.model import normalise
from spire_training.encoder.settings import Settings
from spire_training.encoder.targets import Targets


@dataclass(frozen=True, slots=True)
class Batch:
    """Normalised waves float32 [N, S], targets int64 [N, T], mask bool [N, T] (True: hidden)."""

    waves: Tensor
    targets: Tensor
    mask: Tensor


class Batches:
    """The endless training set of one round, addressed by step so that a restart continues where it
    was.

    Args:
        settings: crop, batch size, masking, seed.
        split: the training speech; every utterance is at least one crop long.
        targets: its labels.
        acoustics: distorts every crop.
        stream: tells the rounds apart.
    """

    def __init__(
        self, settings: Settings, split: Split, targets: Targets, acoustics: Acoustics, stream: int
    ) -> None:
        self._settings, self._split, self._targets = settings, split, targets
        self._acoustics, self._stream = acoustics, stream
        self._samples = round(settings.optimiser.crop_seconds * SAMPLING_RATE)
        self._frames = num_frames(self._samples)

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._settings.seed, 6, self._stream, step])
        waves, targets, masks = [], [], []
        for number in rng.integers(len(self._split), size=self._settings.optimiser.batch_size):
            # a crop starts on a frame, so that the labels of the whole utterance are its labels
            spare = self._split.utterances[number].samples - self._samples
            start = int(rng.integers(spare // HOP_SAMPLES + 1))
            crop = self._split.clean(number, start * HOP_SAMPLES, self._samples)
            waves.append(normalise(self._acoustics.distort(crop, rng)))
            targets.append(self._targets(number, start, self._frames))
            masks.append(span_mask(self._frames, self._settings.masking, rng))
        return Batch(
            torch.from_numpy(np.stack(waves)),
            torch.from_numpy(np.stack(targets).astype(np.int64)),
            torch.from_numpy(np.stack(masks)),
        )
