"""Transcripts to samples, with a real model and a real scorer, through kills."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llm import SENTENCES, tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from spire_dsu.cli import app
from spire_dsu.llm.generation import GenerationConfig, GenerationError
from spire_training.pseudo_label import run
from spire_training.pseudo_label.scorers import LengthRatio, Pair
from spire_training.pseudo_label.settings import PseudoLabelConfig, Transcripts

ROWS = 40


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers end, sooner or later, and two corpora that share ids."""
    folder = tmp_path_factory.mktemp("pseudo")
    tiny_llama(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    end = AutoTokenizer.from_pretrained(folder / "model").convert_tokens_to_ids("<|im_end|>")
    with torch.no_grad():
        model.lm_head.weight[end] *= 2.5
    model.save_pretrained(folder / "model")
    words = " ".join(SENTENCES).split()
    for corpus, step in (("cv", 1), ("spgi", 3)):
        with (folder / f"{corpus}.jsonl").open("w") as file:
            for row in range(ROWS):
                text = " ".join(words[(row * step + i) % len(words)] for i in range(4))
                file.write(json.dumps({"id": f"u{row}", "text": text}) + "\n")
    return folder


def config(inputs: Path, out: Path, **other: Any) -> PseudoLabelConfig:
    settings: dict[str, Any] = {
        "model": str(inputs / "model"),
        "transcripts": tuple(
            Transcripts(name=name, path=str(inputs / f"{name}.jsonl"), limit=30)
            for name in ("cv", "spgi")
        ),
        "languages": ("de", "zh"),
        "out": str(out),
        "generation": GenerationConfig(
            engine="transformers", dtype="float32", max_new_tokens=12, batch_size=15
        ),
        "scorer": "length-ratio",
        "threshold": 0.1,
        "direct": 4,
        "multi_turn": 3,
    }
    return PseudoLabelConfig(**{**settings, **other})


def labels(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_transcript_is_accounted_for(inputs: Path, tmp_path: Path) -> None:
    report = json.loads(run.pseudo_label(config(inputs, tmp_path)).read_text())
    for corpus in ("cv", "spgi"):
        assert report["sources"][corpus]["transcripts"]["chosen"] == 30
        for lang, made in report["sources"][corpus]["languages"].items():
            refused = sum(count for why, count in made.items() if why.startswith("refused"))
            assert made["translated"] + refused == 30
            assert made["kept"] + made["dropped: score"] == made["translated"]
            assert made["direct"] + made["multi_turn"] <= made["kept"]
            texts = json.loads((tmp_path / "config.json").read_text())
            assert lang in texts["languages"]
        direct = labels(tmp_path / f"{corpus}.direct.jsonl")
        later = labels(tmp_path / f"{corpus}.multi_turn.jsonl")
        assert direct
        assert {row["lang"] for row in direct} <= {"de", "zh"}
        assert all(row["score"] >= 0.1 and "\n" not in row["text"] for row in direct + later)
        pairs = [(row["id"], row["lang"]) for row in direct + later]
        assert len(set(pairs)) == len(pairs)


def test_a_killed_run_ends_in_the_same_files(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.pseudo_label(config(inputs, tmp_path / "whole"))

    class Dying(LengthRatio):
        calls = 0

        def __call__(self, pairs: Sequence[Pair]) -> list[float]:
            Dying.calls += 1
            if Dying.calls in (2, 5):
                raise KeyboardInterrupt
            return super().__call__(pairs)

    monkeypatch.setattr(run, "SCORED_AT_ONCE", 5)
    monkeypatch.setattr(run, "scorer_of", lambda _: Dying())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run.pseudo_label(config(inputs, tmp_path / "killed"))
    scored = Dying.calls
    run.pseudo_label(config(inputs, tmp_path / "killed"))
    assert Dying.calls > scored
    for path in sorted((tmp_path / "whole").glob("*.jsonl")):
        assert path.read_bytes() == (tmp_path / "killed" / path.name).read_bytes()
    once_more = Dying.calls
    run.pseudo_label(config(inputs, tmp_path / "killed"))
    assert Dying.calls == once_more


def test_answers_of_another_model_are_not_mixed(inputs: Path, tmp_path: Path) -> None:
    run.pseudo_label(config(inputs, tmp_path))
    changed = GenerationConfig(engine="transformers", dtype="float32", max_new_tokens=13)
    with pytest.raises(GenerationError, match="other settings"):
        run.pseudo_label(config(inputs, tmp_path, generation=changed))


def test_the_command_counts_a_prompt_that_does_not_fit(inputs: Path, tmp_path: Path) -> None:
    rows = [{"id": "long", "text": "hello world " * 300}, {"id": "short", "text": "hello world"}]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "run.toml").write_text(
        f"""
        model = "{inputs / "model"}"
        languages = ["de"]
        out = "{tmp_path / "out"}"
        scorer = "length-ratio"
        transcripts = [{{name = "cv", path = "{path}"}}]
        generation = {{engine = "transformers", dtype = "float32", max_new_tokens = 12}}
        """
    )
    done = CliRunner().invoke(app, ["train", "pseudo-label", str(tmp_path / "run.toml")])
    assert done.exception is None, done.output
    made = json.loads(Path(done.stdout.strip()).read_text())["sources"]["cv"]["languages"]["de"]
    assert made["refused: prompt too long"] == 1
    assert (tmp_path / "out/cv.direct.jsonl").is_file()
