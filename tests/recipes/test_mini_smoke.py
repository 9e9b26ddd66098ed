"""The smallest form of the paper's road, from text and raw audio to a report.

Not only that nothing breaks: the model has learned. It hears two voices that it never heard say
sentences that it never saw.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "training" / "recipes" / "mini" / "run.sh"
LONGEST = 1800


def run(work: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(SCRIPT), "smoke", str(work)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    done = run(folder)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return folder


@pytest.fixture(scope="module")
def report(work: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((work / "results" / "report.json").read_bytes())
    return content


def scores(report: dict[str, Any], test: str, metric: str) -> dict[str, float]:
    return {name: row["score"] for name, row in report["scores"][test]["systems"][metric].items()}


def test_unseen_voices_are_transcribed(report: dict[str, Any]) -> None:
    wer = scores(report, "librispeech/test-clean", "wer")
    assert wer["spire-base"] < 0.6
    assert wer["spire-full"] < 0.6


def test_unseen_sentences_are_translated_both_ways(report: dict[str, Any]) -> None:
    for test in ("flores/en-de", "flores/de-en"):
        assert scores(report, test, "chrf")["spire-full"] > 50


def test_speech_is_translated_directly_and_in_two_steps(report: dict[str, Any]) -> None:
    chrf = scores(report, "fleurs-st/en-de", "chrf")
    assert chrf["spire-full"] > 25
    assert chrf["spire-full cascade"] > 35


def test_the_report_opens_offline(work: Path) -> None:
    page = (work / "results" / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert 'src="http' not in page


def test_a_second_start_changes_nothing(work: Path) -> None:
    files = ("results/report.json", "runs/spire-full/hf/model.safetensors")
    before = [(work / name).read_bytes() for name in files]
    assert run(work).returncode == 0
    assert [(work / name).read_bytes() for name in files] == before
