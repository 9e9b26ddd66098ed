"""Instruction tuning end to end, on a model of a few thousand weights."""

from __future__ import annotations

from pathlib import Path

import torch
from instruction_packs import pack
from tiny_llm import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from spire_dsu.cli import app
from spire_training.it.tables import read_table

SETTINGS = """
model = "{0}/model"
data = "{0}/data"
out = "{0}/out"
sequence_length = 128
batch_rows = 8
micro_batch = 4
epochs = 6
learning_rate = 3e-3
warmup_steps = 2
save_steps = 4
held_steps = 6
device = "cpu"
precision = "bf16"
"""


def test_a_model_learns_and_comes_out_as_a_folder(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model", units=20)
    pack(tmp_path / "data", tmp_path / "model")
    (tmp_path / "it.toml").write_text(SETTINGS.format(tmp_path))
    done = CliRunner().invoke(app, ["train", "it", str(tmp_path / "it.toml")])
    assert done.exception is None, done.output
    folder = tmp_path / "out/hf"
    assert done.stdout.strip() == str(folder)
    held = [float(row["loss"]) for row in read_table(tmp_path / "out/held.csv")]
    assert held[-1] < 3.0 < held[0]
    table = read_table(tmp_path / "out/train.csv")
    assert [int(row["step"]) for row in table] == list(range(1, 13))
    assert {row["loss_answer"] for row in table} == {row["loss"] for row in table}
    assert len(list((tmp_path / "out").glob("checkpoint-*"))) == 2
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.eos_token == "<|im_end|>"
    assert (tmp_path / "out/tensorboard").is_dir()
