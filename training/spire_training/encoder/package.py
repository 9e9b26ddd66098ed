"""The model folder: float16 encoder, codebook, configuration with its provenance; and the figures
beside the recipe.
"""

from __future__ import annotations

import json
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import HubertModel

from spire_dsu.codebook import save_codebook
from spire_dsu.config import ModelConfig, fingerprint, write_resolved
from spire_dsu.files import sha256_of_file, write_atomically
from spire_dsu.types import Float32
from spire_training.encoder.model import NORMALIZE_EPS
from spire_training.encoder.settings import Settings

ENCODER, CODEBOOK, CONFIG = "encoder", "codebook.safetensors", "config.json"
PACKAGES = ("numpy", "scipy", "soxr", "torch", "transformers")


def round_to_float16(encoder: HubertModel) -> HubertModel:
    """The encoder as it ships, in place: float32 that float16 can hold. The codebook is fitted to
    this one.
    """
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(parameter.half().float())
    return encoder


def write_model(
    folder: Path,
    settings: Settings,
    encoder: HubertModel,
    layer: int,
    centroids: Float32,
    hours: float,
) -> dict[str, float]:
    """Write a model folder that `spire_dsu` loads.

    Args:
        folder: made if absent; files of an older model are replaced.
        settings: of the recipe, whose fingerprint is recorded.
        encoder: as `round_to_float16` left it; float16 afterwards.
        layer: whose output the centroids are of.
        centroids: float32 [K, D].
        hours: training speech.

    Returns:
        `params` and `bytes` (weights and codebook).
    """
    weights, codebook = folder / ENCODER / "model.safetensors", folder / CODEBOOK
    encoder.half().save_pretrained(folder / ENCODER)  # type: ignore[no-untyped-call]
    weights.chmod(0o644)  # safetensors leaves a file that its owner alone can read
    save_codebook(codebook, centroids, {"recipe": settings.name, "layer": str(layer)})
    config = ModelConfig(
        name=settings.name,
        encoder=ENCODER,
        codebook=CODEBOOK,
        layer=layer,
        normalize_eps=NORMALIZE_EPS,
        provenance={
            "recipe": "training/recipes/mini/encoder.sh",
            "recipe_fingerprint": fingerprint(settings),
            "seed": settings.seed,
            "date": today(),
            "training_data": f"{hours:.2f} hours of synthetic English speech (espeak-ng, flite)",
            "sha256": {path.name: sha256_of_file(path) for path in (weights, codebook)},
        },
    )
    write_resolved(config, folder / CONFIG)
    return {
        "params": sum(parameter.numel() for parameter in encoder.parameters()),
        "bytes": weights.stat().st_size + codebook.stat().st_size,
    }


def write_results(
    path: Path, settings: Settings, figures: dict[str, float], dev: dict[int, float]
) -> None:
    """Write RESULTS.json: the flat figures, and under `encoder` how the layer was chosen and what
    was used. What else stands there already is the miniature's (`spire_training.mini.findings`).
    """
    before: dict[str, Any] = {"name": settings.name, "figures": {}}
    if path.is_file():
        before = json.loads(path.read_bytes())
    encoder = {
        "date": today(),
        "dev_pnmi_by_layer": {str(layer): round(value, 4) for layer, value in dev.items()},
        "recipe_fingerprint": fingerprint(settings),
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }
    results = before | {"figures": before["figures"] | figures, "encoder": encoder}
    write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())


def today() -> str:
    """The date in UTC, as YYYY-MM-DD."""
    return datetime.now(timezone.utc).date().isoformat()
