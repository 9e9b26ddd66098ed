"""A process that runs conversions which may be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def job() -> Iterator[Callable[[Path, int, str], int]]:
    """Runs a conversion with a fault; returns its exit status, -9 when it was killed."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, TESTS / "faults" / "job.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    ) as process:

        def run(folder: Path, step: int, fault: str) -> int:
            process.stdin.write(json.dumps([str(folder), step, fault]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        process.stdin.close()
