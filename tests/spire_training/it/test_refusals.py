"""What does not fit is refused by name, before anything is written; a bad loss stops the run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from instruction_packs import pack
from safetensors.torch import load_file, save_file
from tiny_llm import tiny_llama
from transformers import AutoTokenizer

from spire_dsu.errors import ConfigError, ModelError, SpireError
from spire_dsu.files import write_atomically
from spire_dsu.locking import LockedError, lock_folder
from spire_dsu.storage import DISK
from spire_training.it import checkpoints
from spire_training.it.config import ITConfig
from spire_training.it.run import train_it
from spire_training.it.tables import LossTable, SpikeGuard, TrainingStoppedError, read_table


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    tiny_llama(folder / "model", units=20)
    tiny_llama(folder / "other", units=19)
    tiny_llama(folder / "base", units=22, chat=False)
    tiny_llama(folder / "shifted", units=19)
    shifted = AutoTokenizer.from_pretrained(folder / "shifted")
    shifted.add_tokens(["one more"])
    shifted.save_pretrained(folder / "shifted")
    pack(folder / "cpt", folder / "model", rows=1, held=0, stage="cpt")
    pack(folder / "data", folder / "model", rows=4)
    return folder


def config(inputs: Path, out: Path, **other: Any) -> ITConfig:
    settings: dict[str, Any] = {
        "model": str(inputs / "model"),
        "data": str(inputs / "data"),
        "out": str(out),
        "sequence_length": 128,
        "batch_rows": 2,
        "micro_batch": 2,
        "device": "cpu",
        "precision": "fp32",
    }
    return ITConfig(**{**settings, **other})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"sequence_length": 64}, "has rows of 128 tokens, and sequence_length is 64"),
        ({"batch_rows": 3}, "batch_rows 3 is no multiple of micro_batch 2 x 1 processes"),
        ({"parallel": "fsdp"}, "parallel = 'fsdp' needs GPUs"),
        ({"model": "other"}, r"packed with num_tokens \d+, and for the tokenizer of .*other it is"),
        ({"model": "shifted"}, "packed with num_units 20, and for the tokenizer .* it is 19"),
        ({"data": "cpt"}, "cpt was packed for stage 'cpt', not 'it'"),
        ({"model": "base"}, "base: no ChatML tokens"),
        ({"model": "data"}, "data: not a Hugging Face model folder"),
        ({"data": "model"}, r"manifest\.json: No such file or directory"),
    ],
)
def test_what_does_not_fit_is_refused(
    inputs: Path, tmp_path: Path, other: dict[str, Any], message: str
) -> None:
    named = {
        key: str(inputs / value) if key in ("model", "data") else value
        for key, value in other.items()
    }
    with pytest.raises(SpireError, match=message):
        train_it(config(inputs, tmp_path / "out", **named))
    assert not (tmp_path / "out").exists()


def test_damaged_data_is_refused(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "data", tmp_path / "data")
    file = tmp_path / "data/train.bin"
    content = bytearray(file.read_bytes())
    content[17] ^= 1
    file.write_bytes(content)
    with pytest.raises(SpireError, match=r"train\.bin: damaged"):
        train_it(config(inputs, tmp_path / "out", data=str(tmp_path / "data")))
    assert not (tmp_path / "out").exists()


def test_deepspeed_and_its_file_go_together() -> None:
    with pytest.raises(ValueError, match=r"DeepSpeed's JSON file goes with"):
        ITConfig(model="m", data="d", out="o", deepspeed="zero3.json")


def test_a_loss_that_is_no_number_stops_the_run(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "model", tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingStoppedError, match="step 1: the loss is nan"):
        train_it(config(inputs, tmp_path / "out", model=str(tmp_path / "model")))
    stopped = json.loads((tmp_path / "out/stopped.json").read_text())
    assert stopped["step"] == 1
    assert len(stopped["rows"]) == 2
    assert not list((tmp_path / "out").glob("checkpoint-*"))
    assert not (tmp_path / "out/hf").exists()
    with pytest.raises(ConfigError, match="belongs to another run: its model was"):
        train_it(config(inputs, tmp_path / "out"))
    lock = lock_folder(tmp_path / "out/lock/it", DISK)
    with pytest.raises(LockedError, match="out is in use by process"):
        train_it(config(inputs, tmp_path / "out"))
    os.close(lock)


def test_spikes_are_told_from_noise() -> None:
    guard = SpikeGuard(3.0, 4, [9.0, 2.0, 2.0])
    assert guard.fault(8.0, 1.0) is None  # fewer than four before it
    assert guard.fault(2.0, 1.0) is None
    assert guard.fault(6.1, 1.0) == "the loss is 6.1, and 2 was the median before"
    assert guard.fault(5.9, 1.0) is None
    assert guard.fault(2.0, float("inf")) == "the gradient's norm is inf"
    assert SpikeGuard(0.0, 1, [1.0]).fault(1e9, 1.0) is None


def test_a_table_drops_what_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    table = LossTable(path, ["step", "loss"], 0)
    for step in (1, 2, 3):
        table.add({"step": step, "loss": 1 / step})
    table.close()
    with path.open("a") as file:
        file.write("4,0.2")  # killed in the middle of a line
    assert [row["step"] for row in read_table(path)] == ["1", "2", "3"]
    again = LossTable(path, ["step", "loss"], 2)
    again.add({"step": 3, "loss": 0.1})
    again.close()
    assert path.read_text() == f"step,loss\n1,1.0\n2,{1 / 2!r}\n3,0.1\n"


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        write_atomically(tmp_path / f"checkpoint-{step}/model.safetensors", b"x" * step)
        if step != 10:
            checkpoints.seal(tmp_path / f"checkpoint-{step}", step=step, processes=1)
    found = checkpoints.last(tmp_path)
    assert found is not None
    assert found.step == 4
    checkpoints.prune(tmp_path, 1, str(tmp_path / "checkpoint-2"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    (tmp_path / "checkpoint-4/model.safetensors").write_bytes(b"y" * 4)
    with pytest.raises(ModelError, match=r"checkpoint-4/model\.safetensors is not what was"):
        checkpoints.last(tmp_path)


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    checkpoints.claim(tmp_path, {"seed": 1, "model": {"a": "b"}})
    checkpoints.claim(tmp_path, {"model": {"a": "b"}, "seed": 1})
    with pytest.raises(ConfigError, match="its seed was 1 and is now 2"):
        checkpoints.claim(tmp_path, {"seed": 2, "model": {"a": "b"}})
