"""The GPU benchmark as far as it runs without one: its arguments, its checks, its result file."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from spire_dsu import units

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("bench_quantize")


def data(rows: int = 300, count: int = 40, dims: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return (
        torch.randn(rows, dims, generator=generator) + 3,
        torch.randn(count, dims, generator=generator) + 3,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_a_line() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_quantize.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs an NVIDIA GPU" in done.stderr
    assert done.stdout == ""


def test_arguments(bench: ModuleType) -> None:
    args = bench.parse([])
    assert (args.frames, args.centroids, args.dims) == (1 << 20, 5000, 1024)
    assert bench.parse(["--frames", "70", "--repeats", "2"]).frames == 70
    with pytest.raises(SystemExit):
        bench.parse(["--frame-count", "x"])


def test_frames_are_new_each_time_around(bench: ModuleType) -> None:
    base = data(64)[0]
    made = bench.more_frames(base, 150, seed=1)
    assert made.shape == (150, 16)
    for start in (0, 64, 128):
        part = made[start : start + 64]
        assert 0 < (part - base[: len(part)]).abs().max() < 0.2
    assert (made[64:128] != made[:64]).all()
    assert torch.equal(made, bench.more_frames(base, 150, seed=1))
    assert bench.row_splits(1200).tolist() == [0, 500, 1000, 1200]
    assert bench.row_splits(500).tolist() == [0, 500]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_labels_are_held_to_float64(bench: ModuleType, dtype: torch.dtype) -> None:
    x, c = data()
    x = x.to(dtype)
    ids = units.assign(x, c)
    assert bench.disagreements(ids, x, c, rows=70) == 0
    ids[[3, 299]] = (ids[[3, 299]] + 1) % 40
    assert bench.disagreements(ids, x, c, rows=70) == 2


def test_a_tie_is_no_disagreement(bench: ModuleType) -> None:
    x, c = data()
    twice = torch.cat([c, c])
    assert bench.disagreements(units.assign(x, c) + 40, x, twice) == 0


def test_runs_are_held_to_the_labels(bench: ModuleType) -> None:
    ids, splits = torch.tensor([1, 1, 2, 2, 2], dtype=torch.int32), torch.tensor([0, 3, 5])
    right = units.run_length(ids, splits)
    assert bench.are_runs_of(ids, splits, right)
    units_, durations, unit_splits = (part.clone() for part in right)
    durations[0] = 1
    assert not bench.are_runs_of(ids, splits, (units_, durations, unit_splits))


def test_the_peers_of_torch_do_their_work(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, c = data()
    monkeypatch.setattr(bench, "CHUNK_BYTES", 4 * 40 * 70)  # 70 rows at a time
    assert bench.disagreements(bench.torch_peer(x, c)(), x, c) == 0
    bench.cublas_product(x, c)()


def test_a_peer_that_fails_is_named_with_its_reason(bench: ModuleType) -> None:
    x, c = data()

    def broken() -> object:
        raise ModuleNotFoundError("No module named 'nothing'\nand more")

    found, absent = bench.present({"torch": lambda: bench.torch_peer(x, c), "nothing": broken})
    assert list(found) == ["torch"]
    assert absent == {"nothing": "ModuleNotFoundError: No module named 'nothing'"}


def test_figures_and_the_result_file(bench: ModuleType, tmp_path: Path) -> None:
    def times(ms: float) -> object:
        return bench.Times((ms, ms, ms))

    measured = {
        "ours fp16": times(15),
        "ours fp16, fast": times(12),
        "ours fp32": times(18),
        bench.CUBLAS: times(12),
    }
    alone = bench.judge(measured)
    assert alone == pytest.approx(
        {"share_of_cublas": 0.8, "exact_over_fast": 1.5, "exact_over_fast_fp16": 1.25}
    )
    peers = {bench.TORCH: times(30), bench.FLASH: times(24), bench.CUVS: times(90)}
    figures = bench.judge(measured | peers)
    assert figures["vs_torch"] == pytest.approx(2)
    assert figures["vs_flash_kmeans"] == pytest.approx(1.6)
    assert figures["vs_cuvs"] == pytest.approx(5)
    assert figures["vs_best_public"] == pytest.approx(1.6)

    run = bench.Benchmark("quantize", settings={"absent": {"cuVS": "not installed"}})
    values = iter([3.0, 1.0, 2.0, 4.0])
    compared = run.compare(
        "two", {"a": int, "b": int}, repeats=2, warmup=0, timer=lambda call: next(values)
    )
    assert compared["a"].seconds == (3.0, 4.0)  # the second turn begins with b
    assert compared["b"].seconds == (1.0, 2.0)
    for name, value in figures.items():
        run.figure(name, value)
    written = json.loads(run.save(tmp_path).read_text())
    assert written["figures"] == pytest.approx(figures)
    assert all(np.isfinite(value) for value in written["figures"].values())
    assert written["settings"]["absent"] == {"cuVS": "not installed"}
    assert written["seconds"]["two"] == {"a": [3.0, 4.0], "b": [1.0, 2.0]}
