"""`prepare --without`: the variants of table 8 are the same configuration with less."""

from __future__ import annotations

from pathlib import Path

import pytest

from spire_dsu.config import load_toml
from spire_dsu.errors import ConfigError
from spire_training.data.command import _ablated, prepare_command
from spire_training.data.settings import PrepareConfig

RECIPE = Path(__file__).parents[3] / "training" / "recipes" / "spire" / "it_data.toml"


def test_a_group_and_a_source_are_left_out() -> None:
    full = load_toml(RECIPE, PrepareConfig)
    less = _ablated(full, ["pseudo", "fleurs"], "it")
    left = [source.name for source in less.sources]
    dropped = [source.name for source in full.sources if source.name not in left]
    assert "fleurs" in dropped
    assert len(dropped) == 7
    assert all(name.startswith("pseudo") for name in dropped if name != "fleurs")
    assert set(less.groups) == {"text", "speech"}
    assert [source for source in full.sources if source.name in left] == list(less.sources)


def test_without_blocks_no_text_is_left() -> None:
    less = _ablated(load_toml(RECIPE, PrepareConfig), ["towerblocks"], "it")
    assert all(source.kind == "speech" for source in less.sources)
    assert "text" not in less.groups


def test_what_is_not_there_cannot_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no source or group towerbocks"):
        prepare_command(RECIPE, 1, ["towerbocks"], tmp_path)


def test_an_ablation_needs_a_folder_of_its_own() -> None:
    with pytest.raises(ConfigError, match="--out"):
        prepare_command(RECIPE, 1, ["fleurs"])
