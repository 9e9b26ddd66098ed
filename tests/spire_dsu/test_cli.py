"""The command line, as a user meets it: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from spire_dsu.demo import DEMO_AUDIO, demo_text

COMMAND = [sys.executable, "-m", "spire_dsu.cli"]


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_demo_writes_a_picture_and_json(tmp_path: Path) -> None:
    done = run("demo", "--out", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert demo_text()[:20] in done.stdout
    row = json.loads((tmp_path / "demo" / "units.json").read_text())
    assert sum(row["durations"]) == row["num_frames"]
    assert len(row["units"]) == len(row["durations"]) > 20
    picture = (tmp_path / "demo" / "units.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_encode_prints_a_line_per_file_and_tells_which_failed(tmp_path: Path) -> None:
    samples, rate = soundfile.read(DEMO_AUDIO)
    soundfile.write(tmp_path / "a.mp3", samples, rate)
    (tmp_path / "b.wav").write_bytes(b"<html>" * 50)
    done = run("encode", "a.mp3", "b.wav", DEMO_AUDIO, cwd=tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "decode_error", "ok"]
    assert sum(rows[2]["durations"]) == rows[2]["num_frames"]
    assert done.returncode == 1
    assert "1 of 3 files have no units" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["encode", "x.wav", "--model", "nothing"], "nothing"),
        (["encode", "x.wav", "--device", "tpu"], "tpu"),
        (["encode", "x.wav", "--precision", "half"], "half"),
        (["encode"], "AUDIO"),
        (["import-codebook", "none.pkl", "--out", "c.safetensors"], "trust"),
        (["import-codebook", "none.pkl", "--trust-pickle", "--out", "c.safetensors"], "none.pkl"),
        (["encode", "x.wav", "--model", "spire"], "hf download"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(words: list[str], text: str, tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert text.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_help_of_every_command_has_an_example(tmp_path: Path) -> None:
    listing = run("--help", cwd=tmp_path).stdout
    for command in ("demo", "encode", "import-codebook"):
        assert command in listing
        assert "Example: spire-dsu " + command in run(command, "--help", cwd=tmp_path).stdout
