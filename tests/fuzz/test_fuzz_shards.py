"""A short run of the fuzzer at every change; SPIRE_TEST_MULTIPLIER makes it longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from unit_rows import MULTIPLIER

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("target", "runs", "least"), [("shard", 500, 400), ("journal", 500, 1), ("manifest", 300, 290)]
)
def test_damaged_files_raise_documented_errors_alone(target: str, runs: int, least: int) -> None:
    runs, least = runs * MULTIPLIER, least * MULTIPLIER
    done = subprocess.run(
        [sys.executable, TESTS / "fuzz" / "fuzz_shards.py", target, str(runs), "7"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused, read = map(int, done.stdout.split())
    assert refused + read == runs
    assert refused >= least
