"""The recipes at the paper's scale are accepted, and say what the paper says."""

from __future__ import annotations

from pathlib import Path

import pytest

from spire_dsu.config import load_toml
from spire_training.ctc.settings import CTCConfig
from spire_training.it.config import ITConfig
from spire_training.pseudo_label.settings import PseudoLabelConfig

RECIPES = Path(__file__).parents[3] / "training/recipes/spire"
VARIANTS = ["tower_full", "spire_full", "spire_no_blocks", "spire_no_pseudo"]


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_differ_in_model_or_data_alone(name: str) -> None:
    made = load_toml(RECIPES / f"it_{name}.toml", ITConfig)
    full = load_toml(RECIPES / "it_spire_full.toml", ITConfig)
    other = {key for key, value in made.model_dump().items() if value != getattr(full, key)}
    assert other - {"out"} <= {"model", "data"}
    assert len(other - {"out"}) == (name != "spire_full")


def test_stated_values_are_the_papers() -> None:
    made = load_toml(RECIPES / "it_spire_full.toml", ITConfig)
    assert (made.learning_rate, made.warmup_steps, made.epochs) == (7e-6, 100, 4)
    assert (made.batch_rows, made.weight_decay, made.sequence_length) == (576, 0.01, 4096)
    labels = load_toml(RECIPES / "pseudo_label.toml", PseudoLabelConfig)
    assert (labels.threshold, labels.direct, labels.multi_turn) == (0.85, 60_000, 60_000)
    assert [source.limit for source in labels.transcripts] == [300_000] * 3
    baseline = load_toml(RECIPES / "ctc.toml", CTCConfig)
    assert (baseline.hidden_layers, baseline.dropout, baseline.epochs) == (3, 0.3, 50)
