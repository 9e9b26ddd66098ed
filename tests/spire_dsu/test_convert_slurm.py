"""The example of a job array: its part, its signal, and back into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "convert.sbatch"
COMMAND = """#!/bin/bash
echo "$@" > "$NOTES/called"
trap 'sleep 0.2; exit 75' TERM
touch "$NOTES/started"
for _ in $(seq 12000); do [ -e "$NOTES/finish" ] && exit 3; sleep 0.05; done
"""


@pytest.fixture
def job(tmp_path: Path) -> subprocess.Popen[bytes]:
    """The script as a task of an array, with stand-ins for what it calls."""
    for name, text in (
        ("spire-dsu", COMMAND),
        ("scontrol", '#!/bin/bash\necho "$@" > "$NOTES/queue"\n'),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    numbers = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16"}
    env = {
        **os.environ,
        **numbers,
        "SLURM_ARRAY_JOB_ID": "77",
        "NOTES": str(tmp_path),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    process = subprocess.Popen(["bash", SCRIPT, "my list.jsonl", "out", "--model", "x"], env=env)
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    return process


def test_a_task_makes_its_part_and_passes_on_the_status(
    tmp_path: Path, job: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "finish").touch()
    assert job.wait() == 3
    wanted = "convert my list.jsonl out --shard-index 3 --num-shards 16 --model x\n"
    assert (tmp_path / "called").read_text() == wanted
    assert not (tmp_path / "queue").exists()


def test_a_task_that_is_stopped_goes_back_into_the_queue(
    tmp_path: Path, job: subprocess.Popen[bytes]
) -> None:
    job.send_signal(signal.SIGTERM)
    assert job.wait() == 75
    assert (tmp_path / "queue").read_text() == "requeue 77_3\n"
