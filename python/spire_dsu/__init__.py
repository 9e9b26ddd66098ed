"""Speech to discrete units for language models.

    units = spire_dsu.encode(wav_batch, sampling_rate=16_000)

HuBERT features, the nearest of K k-means centroids, runs merged (From TOWER to SPIRE, section 3.1).
"""

from __future__ import annotations

import importlib
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spire_dsu.discretizer import Discretizer, EncodedFile, encode
    from spire_dsu.errors import (
        AudioError,
        ConfigError,
        InputError,
        ModelError,
        Reason,
        SpireError,
    )
    from spire_dsu.types import Units
    from spire_dsu.units import Codebook, StreamingQuantizer, assign, quantize, run_length

__version__ = _version("spire-dsu")

__all__ = [
    "AudioError",
    "Codebook",
    "ConfigError",
    "Discretizer",
    "EncodedFile",
    "InputError",
    "ModelError",
    "Reason",
    "SpireError",
    "StreamingQuantizer",
    "Units",
    "__version__",
    "assign",
    "encode",
    "quantize",
    "run_length",
]

# Loaded when first used: the kernels need NumPy alone, and only an encoder needs torch.
_HOME = {
    "Discretizer": "discretizer",
    "EncodedFile": "discretizer",
    "encode": "discretizer",
    "Units": "types",
    "Codebook": "units",
    "StreamingQuantizer": "units",
    "assign": "units",
    "quantize": "units",
    "run_length": "units",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'spire_dsu' has no attribute {name!r}")
    module = importlib.import_module(f"spire_dsu.{_HOME.get(name, 'errors')}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
