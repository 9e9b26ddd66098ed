"""Which frames are hidden: spans of fixed length at random starts, as in wav2vec 2.0 and HuBERT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spire_training.encoder.settings import Masking


def span_mask(frames: int, settings: Masking, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """bool [T], True where the frame is hidden.

    The number of spans is `probability * frames`, rounded up or down at random so that it holds on
    average; starts are distinct, spans may overlap. With 0.08 and 10 just under half of the frames
    are hidden.
    """
    mask = np.zeros(frames, np.bool_)
    possible = frames - settings.length + 1
    spans = min(int(settings.probability * frames + rng.random()), max(possible, 0))
    starts = rng.choice(possible, spans, replace=False) if spans else np.empty(0, np.int64)
    mask[(starts[:, None] + np.arange(settings.length)).ravel()] = True
    return mask
