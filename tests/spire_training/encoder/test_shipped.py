"""The bundled miniature is what the recipe says that it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from spire_dsu.codebook import load_codebook
from spire_dsu.config import ModelConfig, fingerprint, load_json
from spire_dsu.files import sha256_of_file
from spire_training.encoder.settings import Settings
from spire_training.encoder.voices import TEST_VARIANTS

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "python" / "spire_dsu" / "models" / "mini"
RESULTS = json.loads((ROOT / "training" / "recipes" / "mini" / "RESULTS.json").read_text("utf-8"))
FIGURES = RESULTS["figures"]


def test_files_are_those_that_were_judged(recipe: Settings) -> None:
    config = load_json(MODEL / "config.json", ModelConfig)
    digests = config.provenance["sha256"]
    assert isinstance(digests, dict)
    assert digests["model.safetensors"] == sha256_of_file(MODEL / "encoder" / "model.safetensors")
    assert digests["codebook.safetensors"] == sha256_of_file(MODEL / "codebook.safetensors")
    # settings, figures and model belong together: after a change of the recipe it runs again
    assert config.provenance["recipe_fingerprint"] == fingerprint(recipe)
    assert RESULTS["encoder"]["recipe_fingerprint"] == fingerprint(recipe)
    assert config.layer == FIGURES["layer"]


def test_the_gates_are_met() -> None:
    assert FIGURES["pnmi_gain_over_mfcc"] >= 0.10
    assert FIGURES["params"] <= 3_000_000
    files = sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file())
    assert files <= 6_000_000
    assert FIGURES["bytes"] <= files
    assert FIGURES["train_voices"] >= 30


def test_every_unit_is_in_use() -> None:
    codebook = load_codebook(MODEL / "codebook.safetensors", num_centroids=200)
    assert len(np.unique(codebook.centroids, axis=0)) == 200 == FIGURES["units_used"]


def test_the_demo_is_of_an_unseen_voice() -> None:
    assets = ROOT / "python" / "spire_dsu" / "assets"
    about = json.loads((assets / "demo.json").read_text("utf-8"))
    assert about["voice"].split(",")[0].split("+")[1] in TEST_VARIANTS
    samples, rate = soundfile.read(assets / "demo.flac")
    assert rate == 16_000
    assert 0.3 < np.abs(samples).max() < 1.0
