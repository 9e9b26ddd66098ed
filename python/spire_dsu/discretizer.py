"""Speech in, units out: the one object that holds an encoder and a codebook.

    audio -> features ==> units

A unit is the index of the centroid nearest to a HuBERT frame of 20 ms; runs of one unit are merged (SPIRE, section
3.1). The units of an utterance depend on its own samples, the model and the configuration, never on its neighbours.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu import audio, units
from spire_dsu.codebook import LoadedCodebook, load_codebook
from spire_dsu.config import ChunkingConfig, ModelConfig
from spire_dsu.errors import AudioError, InputError, ModelError, Reason
from spire_dsu.features import Encoder
from spire_dsu.manifest import derive_ids, printable
from spire_dsu.presets import resolve
from spire_dsu.types import SAMPLING_RATE, Float32, Units

DEFAULT_MODEL = "mini"


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """What one file became: its units, or the reason why it has none.

    Attributes:
        id: unique among the files of the call; derived from the path.
        source: the path as text (bytes that are no UTF-8 escaped).
        status: `Reason.OK`, or why there are no units.
        message: empty, or one sentence that holds the offending value.
        num_samples: samples at 16 kHz, 0 where nothing was decoded.
        units: present if and only if `status` is `Reason.OK`.
    """

    id: str
    source: str
    status: Reason
    message: str
    num_samples: int
    units: Units | None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, in the order in which `spire-dsu encode` prints it."""
        row: dict[str, Any] = {"id": self.id, "source": self.source, "status": str(self.status)}
        if self.units is None:
            return row | {"message": self.message, "num_samples": self.num_samples}
        return row | {
            "units": self.units.ids.tolist(),
            "durations": self.units.durations.tolist(),
            "num_frames": self.units.num_frames,
            "num_samples": self.num_samples,
        }
