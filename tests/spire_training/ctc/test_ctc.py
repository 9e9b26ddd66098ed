"""The CTC baseline, on a few spoken digits."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spire_dsu.cli import app
from spire_dsu.errors import ConfigError, InputError
from spire_training.ctc.corpus import NO_LABEL, Characters, Corpus, Waves, collate, scaled
from spire_training.ctc.model import CTCModel
from spire_training.ctc.run import train_ctc
from spire_training.ctc.settings import CTCConfig
from spire_training.ctc.transcribe import Transcriber
from spire_training.it import checkpoints
from spire_training.it.tables import read_table

DIGITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero"]
needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifests train.jsonl and dev.jsonl of spoken digits."""
    folder = tmp_path_factory.mktemp("digits")
    for part, count in (("train", 32), ("dev", 6), ("few", 4)):
        chance = random.Random(part)
        with (folder / f"{part}.jsonl").open("w") as file:
            for number in range(count):
                text = " ".join(chance.choices(DIGITS, k=2))
                path = folder / f"{part}{number}.wav"
                speed = str(chance.randint(150, 180))
                subprocess.run(["espeak-ng", "-s", speed, "-w", path, text], check=True)
                row = {"id": f"{part}{number}", "audio_filepath": str(path), "text": text.title()}
                file.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture(scope="module")
def features(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frozen encoder's features, which a run finds where it looks for them."""
    out = tmp_path_factory.mktemp("features")
    train_ctc(config(spoken, out, frozen_encoder=True, epochs=1))
    return out / "features"


def config(folder: Path, out: Path, **other: Any) -> CTCConfig:
    settings: dict[str, Any] = {
        "encoder": "mini",
        "train": str(folder / "train.jsonl"),
        "dev": str(folder / "dev.jsonl"),
        "out": str(out),
        "hidden_size": 256,
        "learning_rate": 3e-3,
        "batch": 8,
        "micro_batch": 8,
        "device": "cpu",
        "precision": "fp32",
    }
    return CTCConfig(**{**settings, **other})


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in read_table(path)]


@needs_espeak
def test_a_frozen_encoders_head_learns_to_hear(
    spoken: Path, features: Path, tmp_path: Path
) -> None:
    shutil.copytree(features, tmp_path / "features")
    run = config(
        spoken,
        tmp_path,
        frozen_encoder=True,
        dropout=0.1,
        epochs=24,
        eval_steps=24,
        test=(str(spoken / "dev.jsonl"),),
    )
    train_ctc(run)
    rates, losses = column(tmp_path / "dev.csv", "cer"), column(tmp_path / "dev.csv", "loss")
    assert min(rates) < 0.5 < rates[0]
    assert losses[-1] < 0.6 * losses[0]
    lines = (tmp_path / "hyps/dev.jsonl").read_text().splitlines()
    heard = {row["id"]: row["text"] for row in map(json.loads, lines)}
    said = Corpus(run.dev, run)
    assert list(heard) == said.ids
    import jiwer

    assert jiwer.cer(said.texts, list(heard.values())) == pytest.approx(min(rates), abs=0.03)


@needs_espeak
def test_a_killed_run_goes_on_to_the_same_losses(
    spoken: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout too: the state of the random numbers is part of a checkpoint."""
    settings = {"frozen_encoder": True, "epochs": 4}
    for name in ("whole", "killed"):
        shutil.copytree(features, tmp_path / name / "features")
    train_ctc(config(spoken, tmp_path / "whole", **settings))
    real, calls = checkpoints.seal, 0

    def dying(folder: Path, **about: int) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 4):
            raise KeyboardInterrupt
        real(folder, **about)

    monkeypatch.setattr(checkpoints, "seal", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_ctc(config(spoken, tmp_path / "killed", **settings))
    train_ctc(config(spoken, tmp_path / "killed", **settings))
    for name in ("train.csv", "dev.csv"):
        assert read_table(tmp_path / "killed" / name) == read_table(tmp_path / "whole" / name)
    (tmp_path / "killed/model/config.json").unlink()
    with pytest.raises(ConfigError, match=r"dropout was 0\.3 and is now 0\.2"):
        train_ctc(config(spoken, tmp_path / "killed", **settings, dropout=0.2))


@needs_espeak
def test_the_whole_model_trains_and_comes_back(spoken: Path, tmp_path: Path) -> None:
    few = str(spoken / "few.jsonl")
    run = config(spoken, tmp_path, train=few, dev=few, epochs=1, batch=4, micro_batch=2)
    lines = [f"{key} = {json.dumps(value)}" for key, value in run.model_dump(mode="json").items()]
    (tmp_path / "ctc.toml").write_text("\n".join(lines))
    done = CliRunner().invoke(app, ["train", "ctc", str(tmp_path / "ctc.toml")])
    assert done.exception is None, done.output
    folder = Path(done.stdout.strip())
    assert folder == tmp_path / "model"
    assert np.isfinite(column(tmp_path / "train.csv", "loss")).all()
    corpus = Corpus(run.dev, run)
    texts = Transcriber(folder, "cpu").corpus(corpus, tmp_path / "skipped.jsonl")
    assert len(texts) == len(corpus)
    assert not (tmp_path / "skipped.jsonl").exists()


def test_audio_that_cannot_be_read_is_silence_and_written_down(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF nothing")
    rows = [
        {"id": "bad", "audio_filepath": str(tmp_path / "bad.wav"), "text": "One"},
        {"id": "mute", "audio_filepath": str(tmp_path / "bad.wav"), "text": " "},
        {"id": "long", "audio_filepath": "x.wav", "text": "two", "offset": 1, "duration": 31.0},
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus(str(manifest), config(tmp_path, tmp_path))
    assert corpus.counts == {"used": 1, "dropped: no text": 1, "dropped: too long": 1}
    row = Waves(corpus, Characters.of(corpus.texts), 1e-5, tmp_path / "skipped.jsonl")[0]
    assert row["labels"] == []
    assert not row["inputs"].any()
    skipped = json.loads((tmp_path / "skipped.jsonl").read_text())
    assert skipped == {"id": "bad", "reason": "decode_error"}


def test_characters_come_from_the_data_and_runs_are_merged() -> None:
    characters = Characters.of(["ab b", "ca"])
    assert characters.known == " abc"
    assert len(characters) == 5
    assert characters.encode("cabx") == [4, 2, 3]
    assert characters.decode([0, 2, 2, 0, 2, 1, 1, 3, 0, 0]) == "aa b"
    with pytest.raises(InputError, match="no text"):
        Characters.of([" "])


def test_a_neighbours_length_changes_no_loss() -> None:
    torch.manual_seed(0)
    model = CTCModel(None, width=6, hidden_size=8, hidden_layers=3, dropout=0.3, tokens=5).eval()
    rows = [
        {"inputs": np.random.default_rng(seed).normal(size=(frames, 6)), "labels": labels}
        for seed, (frames, labels) in enumerate([(20, [1, 2, 3]), (50, [4, 4, 1, 2])])
    ]
    alone = [model(**collate([row]))["loss"].item() for row in rows]
    both = model(**collate(rows))
    assert both["loss"].item() == pytest.approx(np.mean(alone), rel=1e-5)
    assert (both["logits"][0, 20:].argmax(-1) == 0).all()
    assert collate(rows)["labels"][0].tolist() == [1, 2, 3, NO_LABEL]
    kinds = [type(layer).__name__ for layer in model.head]
    assert kinds == ["LayerNorm", *["Linear", "GELU", "Dropout"] * 3, "Linear"]


def test_waves_are_scaled_as_the_encoder_wants() -> None:
    wave = np.random.default_rng(0).normal(3.0, 0.5, 1000).astype(np.float32)
    made = scaled(wave, 1e-5)
    assert abs(made.mean()) < 1e-5
    assert made.std() == pytest.approx(1.0, abs=1e-4)
    assert scaled(wave, None) is wave


def test_the_defaults_are_the_papers() -> None:
    made = CTCConfig(encoder="e", train="t", dev="d", out="o")
    assert (made.hidden_layers, made.dropout, made.epochs) == (3, 0.3, 50)
    assert (made.learning_rate, made.warmup_ratio) == (1e-4, 0.15)
