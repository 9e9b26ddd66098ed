"""`make gpu-check` as far as it goes without a GPU: the script's own promises, with commands in the
places of the compiler, the interpreter and the sanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "gpu-check"
SANITIZERS = ["memcheck", "racecheck", "initcheck", "synccheck"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, two benchmarks that write results, and commands that succeed."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci" / "gpu-check")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "old.json").write_text("{}")
    os.utime(tmp_path / "benchmarks" / "results" / "old.json", (0, 0))
    for name in ("quantize", "encode_gpu"):
        (tmp_path / "benchmarks" / f"bench_{name}.py").touch()
    (tmp_path / "bin").mkdir()
    tests = "build/gpu/tests/csrc/cuda/device"
    command(
        tmp_path, "cmake", f"mkdir -p {tests}; ln -sf /bin/true {tests}/spire_cuda_tests; echo made"
    )
    command(tmp_path, "nvidia-smi", "echo GPU 0")
    command(tmp_path, "compute-sanitizer", 'echo "small: $SPIRE_TEST_SMALL"')
    command(
        tmp_path,
        "python3",
        'case "$1" in benchmarks/*) echo "{}" >benchmarks/results/$(basename "$1" .py).json;; esac',
    )
    return tmp_path


def command(checkout: Path, name: str, body: str) -> None:
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def check(checkout: Path, **more: str) -> tuple[int, str, str]:
    environment = {
        **more,
        "PATH": f"{checkout / 'bin'}:/usr/bin:/bin",
        "OUT": str(checkout / "out"),
    }
    done = subprocess.run(
        [checkout / ".ci" / "gpu-check"], capture_output=True, text=True, env=environment
    )
    return done.returncode, done.stdout, done.stderr


def test_without_a_driver_it_says_so(checkout: Path) -> None:
    command(checkout, "nvidia-smi", "exit 9")
    status, _, said = check(checkout)
    assert status == 1
    assert "needs an NVIDIA GPU" in said
    assert not (checkout / "build").exists()


def test_all_steps_run_and_the_results_come_out(checkout: Path) -> None:
    status, said, _ = check(checkout)
    assert status == 0, said
    for name in ["build-tests", "build-package", "cpp-tests", "python-tests", "bench_quantize"]:
        assert f"== {name}: ok" in said
    assert said.count("small: 1") == len(SANITIZERS)
    out = sorted(path.name for path in (checkout / "out").iterdir())
    assert out == ["bench_encode_gpu.json", "bench_quantize.json", "gpu-check.log"]


@pytest.mark.parametrize("failing", ["cmake", "python3", "compute-sanitizer"])
def test_a_failure_hides_nothing_after_it(checkout: Path, failing: str) -> None:
    command(checkout, failing, "echo it broke; exit 3")
    status, said, _ = check(checkout)
    assert status == 1
    steps = {
        "cmake": ["build-tests", "cpp-tests"],
        "python3": ["build-package", "python-tests", "bench_quantize", "bench_encode_gpu"],
        "compute-sanitizer": [f"sanitizer-{name}" for name in SANITIZERS],
    }
    for command_name, names in steps.items():
        for name in names:
            assert (f"== {name}: FAILED" in said) == (command_name == failing), name
    assert "it broke" in said
    assert (checkout / "out" / "gpu-check.log").exists()


def test_without_time_left_nothing_runs_and_it_says_so(checkout: Path) -> None:
    status, said, _ = check(checkout, GPU_CHECK_SECONDS="0")
    assert status == 1
    for name in ["build-tests", "build-package", "cpp-tests", "bench_encode_gpu"]:
        assert f"== {name}: NOT RUN: no time left" in said
