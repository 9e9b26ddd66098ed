"""The CUDA side, as far as it can be tested without a GPU: the kernels in the emulator, what the
compiler made of them, and the streaming that returns results one call later."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spire_dsu import units
from spire_dsu.errors import InputError
from spire_dsu.types import Int64

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc" / "cuda"
built = pytest.mark.skipif(
    importlib.util.find_spec("spire_dsu._cuda") is None,
    reason="this installation was built without CUDA: there is no nvcc",
)
nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")


def run(*command: str | Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_the_kernels_in_the_emulator() -> None:
    """Every kernel, thread by thread, with copies and products in flight at random."""
    folder = ROOT / "build" / "emulator"
    run("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DSPIRE_TESTS=ON",
        "-DSPIRE_BINDINGS=OFF", "-DSPIRE_CUDA=OFF")  # fmt: skip
    run("cmake", "--build", folder, "--target", "spire_emulated_tests")
    said = run(folder / "tests/csrc/cuda/emulator/spire_emulated_tests")
    assert len(re.findall(r"^ok ", said, re.MULTILINE)) >= 25


@nvcc
@pytest.mark.parametrize(("kernel", "architecture"), [("hopper", "90a"), ("portable", "80")])
def test_the_sums_stay_in_registers(kernel: str, architecture: str, tmp_path: Path) -> None:
    said = run(
        "nvcc", "-std=c++20", "-O3", f"-I{ROOT}/csrc/include", f"-I{KERNELS}/detail", "-cubin",
        f"-gencode=arch=compute_{architecture},code=sm_{architecture}", "-Xptxas=-v",
        "-o", tmp_path / "cubin", KERNELS / f"screen_{kernel}.cu",
    )  # fmt: skip
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", said)
    assert spills
    assert set(spills) == {("0", "0")}
    assert "serialized" not in said, "wgmma would wait for each product"


@built
def test_the_stub_is_what_the_module_says(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pybind11_stubgen", "spire_dsu._cuda", "-o", tmp_path)
    made = (tmp_path / "spire_dsu" / "_cuda.pyi").read_text()
    assert made == (ROOT / "python/spire_dsu/_cuda.pyi").read_text(), "run: make stubs"


@built
def test_host_arrays_are_refused_by_name() -> None:
    from spire_dsu import _cuda

    for array in (np.zeros((3, 4), np.float32), torch.zeros(3, 4)):
        with pytest.raises(InputError, match="centroids must lie on a CUDA device"):
            _cuda.Codebook(array, stream=0)
    with pytest.raises(InputError, match="centroids must be an array"):
        _cuda.Codebook([[1.0]], stream=0)


@built
def test_faults_become_errors() -> None:
    from spire_dsu import _cuda

    none = 0x7F7F7F7F7F7F7F7F
    _cuda.raise_faults(none, none, none)
    for faults, message in [
        ((5, none, none), "features row 5"),
        ((none, 3, none), "entry 3"),
        ((none, none, 2), "row 2 holds a run"),
    ]:
        with pytest.raises(InputError, match=message):
            _cuda.raise_faults(*faults)


class OnGpu:
    """An array that says it lies on a GPU."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **options: object) -> object:
        raise AssertionError("nothing here may read it")


def test_without_the_cuda_build_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="built without CUDA"):
        units.assign(OnGpu(np.zeros((2, 3))), np.zeros((1, 3), np.float32))


class HostPipeline:
    """The contract of `cuda_units.Pipeline`, kept by the CPU."""

    def __init__(self, codebook: units.Codebook) -> None:
        self.codebook, self.results = codebook, []

    def push(self, features: OnGpu, row_splits: Int64) -> None:
        self.results.append(units.quantize(features.array, row_splits, self.codebook))

    def wait(self, age: int) -> tuple[np.ndarray, ...]:
        assert age <= 1, "older results are overwritten"
        return self.results[-1 - age]


def test_blocks_on_a_gpu_come_one_call_later(monkeypatch: pytest.MonkeyPatch) -> None:
    centroids = np.array([[0.0], [1.0], [2.0]], np.float32)
    frames = np.array([1, 1, 0, 0, 0, 2, 1, 1, 1, 2], np.float32).reshape(-1, 1)
    blocks = [([0, 2, 3], True), ([0, 2], True), ([0, 1], True), ([0], True), ([0, 1, 3, 4], False)]
    for on_gpu in ([True] * 5, [True, False, True, True, True], [False, True, False, False, True]):
        stream = units.StreamingQuantizer(centroids)
        stream._pipeline = HostPipeline(stream._codebook)
        done, at = [], 0
        for (splits, cut), there in zip(blocks, on_gpu, strict=True):
            block = frames[at : at + splits[-1]]
            at += splits[-1]
            done.append(
                stream.push(OnGpu(block) if there else block, splits, last_row_continues=cut)
            )
        done.append(stream.finish())
        whole = units.quantize(frames, [0, 2, 7, 9, 10], centroids)
        for i in range(2):
            assert np.concatenate([part[i] for part in done]).tolist() == whole[i].tolist()
        lengths = np.concatenate([np.diff(part[2]) for part in done])
        assert lengths.tolist() == np.diff(whole[2]).tolist()
