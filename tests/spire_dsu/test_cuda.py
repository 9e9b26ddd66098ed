"""The Python side of the GPU path, as far as it can be tested without one: checks, errors, and the
streaming that returns results one call later. The kernels' own tests lie in `tests/csrc`."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spire_dsu import units
from spire_dsu.discretizer import Discretizer
from spire_dsu.errors import InputError
from spire_dsu.features import FeatureBlock
from spire_dsu.types import Int64

ROOT = Path(__file__).resolve().parents[2]
built = pytest.mark.skipif(
    importlib.util.find_spec("spire_dsu._cuda") is None,
    reason="this installation was built without CUDA: there is no nvcc",
)


@built
def test_the_stub_is_what_the_module_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pybind11_stubgen", "spire_dsu._cuda", "-o", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
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

    def __init__(self, array: np.ndarray, kind: int = 2) -> None:
        self.array, self.kind = array, kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **options: object) -> object:
        raise AssertionError("nothing here may read it")


def test_without_the_cuda_build_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="built without CUDA"):
        units.assign(OnGpu(np.zeros((2, 3))), np.zeros((1, 3), np.float32))


class WithCpu(OnGpu):
    """The same with a way back to the host, as torch has it."""

    def cpu(self) -> np.ndarray:
        return self.array


def test_without_the_cuda_build_a_stream_goes_on_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    centroids, frames = np.array([[0.0], [1.0]], np.float32), np.array([[1], [1], [0]], np.float32)
    stream = units.StreamingQuantizer(centroids)
    with pytest.warns(RuntimeWarning, match="quantised on the CPU"):
        done = stream.push(WithCpu(frames), [0, 3])
    assert [part.tolist() for part in done] == [[1, 0], [2, 1], [0, 2]]


def test_where_an_array_lies() -> None:
    places = {kind: units._device(OnGpu(np.zeros(1), kind)) for kind in (1, 2, 3, 13)}
    assert places == {1: None, 2: 0, 3: None, 13: 0}  # 3: host memory locked for copies
    with pytest.raises(InputError, match="device 4"):
        units._device(OnGpu(np.zeros(1), 4))


@built
def test_what_torch_cannot_hold_is_refused_before_torch_sees_it() -> None:
    from spire_dsu import cuda_units

    with pytest.raises(InputError, match=r"got \(-8,\)"):
        cuda_units.as_tensor(np.arange(3.0)[::-1])


@built
def test_integers_on_a_gpu_are_taken_if_they_fit() -> None:
    """The checks of ids and row splits, which do not care where the tensor lies."""
    from spire_dsu import cuda_units

    for dtype in (torch.uint8, torch.int16, torch.uint16, torch.uint32, torch.int64, torch.uint64):
        ids = torch.tensor([3, 0, 120], dtype=dtype)
        assert cuda_units._int32(ids).tolist() == [3, 0, 120]
        assert cuda_units._splits(ids, ids).dtype == torch.int64
    for value, dtype in ((2**31, torch.int64), (-(2**31) - 1, torch.int64), (2**31, torch.uint32)):
        with pytest.raises(InputError, match=str(value)):
            cuda_units._int32(torch.tensor([0, value], dtype=dtype))
    with pytest.raises(InputError, match="fit 32 bits"):
        cuda_units._int32(torch.tensor([-1]).view(torch.uint64))
    for wrong in (torch.zeros(2), torch.zeros(2, dtype=torch.bool), torch.zeros(2).cfloat()):
        with pytest.raises(InputError, match="must be integers"):
            cuda_units._int32(wrong)
        with pytest.raises(InputError, match="must be integers"):
            cuda_units._splits(wrong, wrong)
    fixed = np.array([0, 2])
    fixed.flags.writeable = False
    assert cuda_units._splits(fixed, torch.zeros(1)).tolist() == [0, 2]


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


def test_the_error_of_a_block_on_a_gpu_comes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(HostPipeline):
        """Faults are found when the results are."""

        def push(self, features: OnGpu, row_splits: Int64) -> None:
            self.results.append((features, row_splits))

        def wait(self, age: int) -> tuple[np.ndarray, ...]:
            features, row_splits = self.results[-1 - age]
            return units.quantize(features.array, row_splits, self.codebook)

    stream = units.StreamingQuantizer(np.array([[0.0], [1.0]], np.float32))
    stream._pipeline = Late(stream._codebook)

    def push(*values: float, cut: bool = False) -> list[list[int]]:
        block = OnGpu(np.array(values, np.float32).reshape(-1, 1))
        done = stream.push(block, [0, len(values)], last_row_continues=cut)
        return [part.tolist() for part in done]

    assert push(1, 1, cut=True) == [[], [], [0]]
    assert push(1, np.nan) == [[], [], [0]]
    with pytest.raises(InputError, match="row 1"):
        push(1, 0)
    assert push(1, 0) == [[], [], [0]]  # as if neither block had been pushed
    assert [part.tolist() for part in stream.finish()] == [[1, 0], [3, 1], [0, 2]]


def test_the_discretizer_quantises_where_the_features_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that say they lie on a GPU reach the pipeline untouched, and all units come out."""
    mini = Discretizer.from_pretrained("mini", device="cpu")
    waves = [0.1 * np.sin(np.arange(size) / 7, dtype=np.float32) for size in (9_000, 300, 16_000)]
    expected = mini.encode(waves)
    pipelines: list[HostPipeline] = []

    def pipeline(codebook: units.Codebook) -> HostPipeline:
        pipelines.append(HostPipeline(codebook))
        return pipelines[-1]

    stream = mini.encoder.stream

    def on_gpu(waves: Iterable[np.ndarray]) -> Iterator[FeatureBlock]:
        for block in stream(waves):
            yield dataclasses.replace(block, features=OnGpu(block.features))

    monkeypatch.setattr(mini.encoder, "stream", on_gpu)
    on = units.Codebook.on
    monkeypatch.setattr(
        units.Codebook, "on", lambda book, device: book if device == 0 else on(book, device)
    )
    monkeypatch.setattr(units, "_cuda", lambda: SimpleNamespace(Pipeline=pipeline))
    assert mini.encode(waves) == expected
    assert len(pipelines) == 1
    assert len(pipelines[0].results) == 3
