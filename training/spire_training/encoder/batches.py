"""Batches of random crops: distorted speech, its targets, and what is hidden. Batch b is a function
of the seed and b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from spire_dsu.types import HOP_SAMPLES, SAMPLING_RATE, Float32, Int32, num_frames
from spire_training.encoder.acoustics import Acoustics
from spire_training.encoder.alignment import middles, nearest_frames
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
            crop, labels = self._crop(int(number), rng)
            waves.append(normalise(self._acoustics.distort(crop, rng)))
            targets.append(labels)
            masks.append(span_mask(self._frames, self._settings.masking, rng))
        return Batch(
            torch.from_numpy(np.stack(waves)),
            torch.from_numpy(np.stack(targets).astype(np.int64)),
            torch.from_numpy(np.stack(masks)),
        )

    def _crop(self, number: int, rng: np.random.Generator) -> tuple[Float32, Int32]:
        """Clean samples [S] of one utterance as another speaker might say them, and the labels [T]
        of what was said: the units then ignore more of the voice.
        """
        total = self._split.utterances[number].samples
        factor = max(rng.uniform(*self._settings.optimiser.crop_resampling), self._samples / total)
        count = min(total, math.ceil(self._samples / factor) + 1)
        # a crop starts on a frame, so that the labels of the whole utterance are its labels
        start = int(rng.integers((total - count) // HOP_SAMPLES + 1))
        clean = self._split.clean(number, start * HOP_SAMPLES, count)
        heard = soxr.resample(clean, SAMPLING_RATE / factor, SAMPLING_RATE)[: self._samples]
        labels = self._targets(number, start, num_frames(count))
        return heard, labels[nearest_frames(middles(self._frames) / factor, len(labels))]
