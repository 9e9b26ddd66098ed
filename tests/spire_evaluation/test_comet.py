"""COMET through its own environment: the real package, on tiny random models in its own layout."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spire_dsu.errors import InputError, ModelError, SpireError
from spire_dsu.llm.comet import interpreter, run_comet, score_comet
from spire_evaluation.cli import app

MAKER = Path(__file__).resolve().parents[1] / "tiny_comet.py"
ROWS = [
    {"src": "Hello world", "mt": "Hallo Welt", "ref": "Hallo Welt."},
    {"src": "this is a test", "mt": "", "ref": "ein Test"},
    {"src": "good morning", "mt": "guten\u2028Morgen\n\u4f60", "ref": "guten Morgen"},
]


def environment() -> Path | None:
    try:
        return interpreter()
    except ModelError:
        return None


needs_comet = pytest.mark.skipif(
    environment() is None, reason="no environment with unbabel-comet: make venv-comet"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `regression` and `unified`, made by the other environment, with `scores.json`."""
    folder = tmp_path_factory.mktemp("comet")
    (folder / "rows.json").write_text(json.dumps(ROWS))
    words = [str(interpreter()), "-I", str(MAKER), str(folder), str(folder / "rows.json")]
    subprocess.run(words, check=True, capture_output=True)
    return folder


def expected(models: Path, name: str) -> list[float]:
    found = json.loads((models / "scores.json").read_text())[name]
    assert len(set(found)) == len(ROWS)  # the model tells the rows apart
    return [float(score) for score in found]


@needs_comet
def test_scores_are_the_model_s_own_in_the_order_given(models: Path) -> None:
    scores = score_comet(ROWS, model=models / "regression", batch_size=2)
    np.testing.assert_allclose(scores, expected(models, "regression"), atol=1e-6)


@needs_comet
def test_the_command_compares_systems_without_references(models: Path, tmp_path: Path) -> None:
    refs, a, b = (tmp_path / name for name in ("refs", "a", "b"))
    refs.write_text(
        "".join(json.dumps({"id": i, "source": r["src"]}) + "\n" for i, r in enumerate(ROWS))
    )
    a.write_text("".join(json.dumps({"id": i, "text": r["mt"]}) + "\n" for i, r in enumerate(ROWS)))
    b.write_text(
        "".join(json.dumps({"id": i, "text": r["ref"]}) + "\n" for i, r in enumerate(ROWS))
    )
    words = ["compare", "--metric", "cometkiwi", "--refs", str(refs), "--draws", "100"]
    words += ["--comet-model", str(models / "unified")]
    words += ["--hyps", f"a={a}", "--hyps", f"b={b}"]
    found = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    first, second = (found["systems"]["cometkiwi"][name] for name in "ab")
    assert first["score"] == pytest.approx(np.mean(expected(models, "unified")), abs=1e-6)
    assert found["pairs"][0]["difference"] == pytest.approx(second["score"] - first["score"])
    assert first["score"] != second["score"]
    checkpoint = (models / "unified" / "checkpoints" / "model.ckpt").read_bytes()
    assert first["model_sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert first["model_class"] == "UnifiedMetric"
    assert first["signature"].startswith(f"cometkiwi|model:{first['model_sha256'][:12]}|precision:")
    assert first["versions"]["unbabel-comet"].startswith("2.")
    assert first["sums"]["segments"] == 3


@needs_comet
@pytest.mark.parametrize(
    ("model", "referenceless", "said"),
    [
        ("unified", False, "unified: a model that reads no references"),
        (
            "Unbabel/wmt22-comet-da",
            False,
            "neither a file, a folder, nor a model in the local cache",
        ),
        ("encoder", False, "encoder: no checkpoints/model.ckpt in this folder"),
    ],
)
def test_a_model_that_cannot_be_used_is_named(
    models: Path,
    model: str,
    referenceless: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    named = models / model if (models / model).exists() else model
    with pytest.raises(ModelError, match=said):
        run_comet([ROWS], model=named, referenceless=referenceless)


def test_rows_must_hold_what_the_model_reads() -> None:
    with pytest.raises(InputError, match="a row without ref"):
        run_comet([[{"src": "a", "mt": "b"}]], model="m", referenceless=False)
    with pytest.raises(InputError, match="no row to score"):
        score_comet([], model="m")


def test_a_missing_environment_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPIRE_COMET_PYTHON", str(tmp_path / "python"))
    with pytest.raises(ModelError, match=r"python is none: `make venv-comet` makes it"):
        interpreter()
    with pytest.raises(SpireError, match="other is none"):
        score_comet([{"src": "a", "mt": "b"}], model="m", environment=tmp_path / "other")


def test_an_interpreter_that_dies_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of memory >&2\nexit 9\n")
    broken.chmod(0o755)
    with pytest.raises(ModelError, match="ended with status 9 and no scores: out of memory"):
        score_comet([{"src": "a", "mt": "b"}], model="m", environment=broken)
