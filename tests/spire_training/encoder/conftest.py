"""The recipe at smoke size: the shipped settings with small numbers, spoken once."""

from __future__ import annotations

import ctypes.util
import shutil
from pathlib import Path

import pytest

from spire_training.encoder import stages
from spire_training.encoder.settings import Settings, read_settings

RECIPE = Path(__file__).parents[3] / "training" / "recipes" / "mini" / "encoder.toml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the synthesisers nothing here can run; `make speech` installs them."""
    absent = [
        name
        for name, there in (
            ("espeak-ng", ctypes.util.find_library("espeak-ng")),
            ("flite", shutil.which("flite")),
        )
        if not there
    ]
    if absent:
        reason = f"{' and '.join(absent)} not installed: `make speech` installs them"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def recipe() -> Settings:
    """The shipped settings."""
    return read_settings(RECIPE)


@pytest.fixture(scope="session")
def smoke(recipe: Settings) -> Settings:
    """The shipped settings, small."""
    data = recipe.model_dump(mode="json")
    data["speech"] |= {
        "train_utterances": 60,
        "dev_utterances": 4,
        "test_utterances": 8,
        "train_voices": 3,
        "test_voices": 2,
        "min_seconds": 2.0,
    }
    data["encoder"] |= {
        "conv_dim": [16] * 7,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    }
    data["optimiser"] |= {
        "crop_seconds": 2.0,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "checkpoint_steps": 20,
    }
    data["rounds"] = [
        {"source": "mfcc", "clusters": 12, "steps": 100},
        {"source": "encoder", "layer": 1, "clusters": 12, "steps": 4, "continued": True},
    ]
    data["codebook"] |= {"clusters": 16, "frames": 4000, "iterations": 20}
    return Settings.model_validate(data, strict=False)


@pytest.fixture(scope="session")
def spoken(smoke: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `speech` of a work folder, with its three splits."""
    folder = tmp_path_factory.mktemp("mini")
    stages.speak(stages.Work(smoke, folder), 2, lambda _: None)
    return folder / "speech"


@pytest.fixture
def work(smoke: Settings, spoken: Path, tmp_path: Path) -> stages.Work:
    """A work folder of its own that has the speech and nothing else."""
    (tmp_path / "speech").symlink_to(spoken)
    return stages.Work(smoke, tmp_path)
