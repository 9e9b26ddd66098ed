"""A killed run goes on to the very losses of one that was left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from instruction_packs import pack
from tiny_llm import tiny_llama

from spire_training.it.tables import read_table

KILLS = ["backward:6", "half a checkpoint:2", "two checkpoints:2", "before the model:1"]
LEARNED = ["step", "tokens", "learned", "loss", "learning_rate", "grad_norm", "loss_answer"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folders: whole, killed, two (processes), shared (1, then 2, then 1), sharded."""
    folder = tmp_path_factory.mktemp("resume")
    tiny_llama(folder / "model", units=20)
    pack(folder / "data", folder / "model")
    settings: dict[str, Any] = {
        "model": str(folder / "model"),
        "data": str(folder / "data"),
        "sequence_length": 128,
        "batch_rows": 8,
        "micro_batch": 2,
        "epochs": 4,
        "learning_rate": 3e-3,
        "warmup_steps": 2,
        "save_steps": 2,
        "device": "cpu",
        "precision": "fp32",
    }

    def job(name: str, kill: str = "", processes: int = 1, **other: Any) -> dict[str, Any]:
        config = {**settings, "out": str(folder / name), **other}
        return {"config": config, "kill": kill, "processes": processes}

    jobs = [
        job("whole"),
        *[job("killed", kill) for kill in [*KILLS, ""]],
        job("two", processes=2),
        job("shared", "backward:5"),
        job("shared", "backward:3", processes=2),
        job("shared", micro_batch=4),
        job("sharded", "backward:5", processes=2, parallel="fsdp"),
        job("sharded", processes=2, parallel="fsdp"),
        job("whole", learning_rate=1e-3),
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("forked_runs.py")
    done = subprocess.run(
        [sys.executable, script, folder / "jobs.json"], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stderr)
    assert json.loads(done.stdout) == [
        [0],
        *[[-9]] * len(KILLS),
        [0],
        [0, 0],
        [-9],
        [-9, -9],
        [0],
        [-9, -9],
        [0, 0],
        [2],
    ], done.stderr
    return folder


def losses(runs: Path, name: str) -> list[list[str]]:
    return [[row[key] for key in LEARNED] for row in read_table(runs / name / "train.csv")]


def test_four_kills_leave_no_trace(runs: Path) -> None:
    assert len(losses(runs, "whole")) == 8
    assert losses(runs, "killed") == losses(runs, "whole")
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        hf = (runs / "killed/hf" / file).read_bytes()
        assert hf == (runs / "whole/hf" / file).read_bytes()


@pytest.mark.parametrize("name", ["two", "shared", "sharded"])
def test_processes_change_no_more_than_float_noise(runs: Path, name: str) -> None:
    whole, other = losses(runs, "whole"), losses(runs, name)
    assert len(whole) == len(other)
    for one, two in zip(whole, other, strict=True):
        assert [float(value) for value in two] == pytest.approx([float(v) for v in one], rel=2e-4)


def test_another_run_is_refused_in_the_same_folder(runs: Path) -> None:
    said = (runs / "said").read_text()
    assert "belongs to another run: its learning_rate was 0.003 and is now 0.001" in said
