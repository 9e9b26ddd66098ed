"""Instruction tuning end to end, on a model of a few thousand weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from instruction_packs import pack
from tiny_llm import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from spire_training.it.config import ITConfig
from spire_training.it.run import train_it
from spire_training.it.tables import read_table


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and packed instructions."""
    folder = tmp_path_factory.mktemp("it")
    tiny_llama(folder / "model", units=20)
    pack(folder / "data", folder / "model")
    return folder


def config(inputs: Path, out: Path, **other: Any) -> ITConfig:
    settings: dict[str, Any] = {
        "model": str(inputs / "model"),
        "data": str(inputs / "data"),
        "out": str(out),
        "sequence_length": 128,
        "batch_rows": 8,
        "micro_batch": 4,
        "epochs": 6,
        "learning_rate": 3e-3,
        "warmup_steps": 2,
        "save_steps": 4,
        "held_steps": 6,
        "device": "cpu",
        "precision": "fp32",
    }
    return ITConfig(**{**settings, **other})


def test_a_model_learns_and_comes_out_as_a_folder(inputs: Path, tmp_path: Path) -> None:
    folder = train_it(config(inputs, tmp_path / "out"))
    held = [float(row["loss"]) for row in read_table(tmp_path / "out/held.csv")]
    assert held[-1] < 3.0 < held[0] + 1.0
    table = read_table(tmp_path / "out/train.csv")
    assert [int(row["step"]) for row in table] == list(range(1, 13))
    assert {row["loss_answer"] for row in table} == {row["loss"] for row in table}
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.eos_token == "<|im_end|>"
    assert (tmp_path / "out/tensorboard").is_dir()
