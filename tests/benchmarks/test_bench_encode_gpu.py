"""The GPU benchmark of the encoder as far as it runs without one: counts, and peers' answers."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812, its common name
from makers import make_hubert, make_waves
from rich.console import Console

from spire_dsu import Discretizer
from spire_dsu.features import Encoder

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_a_line() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_encode_gpu.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs an NVIDIA GPU" in done.stderr
    assert done.stdout == ""


def test_operations_are_those_of_the_model(load: Any) -> None:
    stages: ModuleType = load("encode_gpu_stages")
    per_second = {name: flops / 15 / 1e9 for name, flops in stages.stage_flops(240_000).items()}
    assert per_second["extractor"] == pytest.approx(0.033 + 2.516 + 2.359, rel=2e-3)
    assert per_second["positional convolution"] == pytest.approx(0.838, rel=2e-3)
    assert per_second["linears"] == pytest.approx(27.65 + 0.052, rel=2e-3)
    assert per_second["attention"] == pytest.approx(3.37, rel=2e-3)
    assert stages.useful_flops([torch.empty(240_000)]) == pytest.approx(37.3e9 * 15, rel=2e-3)


def test_batches_hold_every_wave_once(load: Any) -> None:
    peers: ModuleType = load("encode_gpu_peers")
    waves = [torch.empty(n) for n in (16_000, 160_000, 5_000_000, 48_000, 16_000)] * 30
    found = peers.batches(waves)
    assert sorted(i for some in found for i in some) == list(range(len(waves)))
    for some in found:
        longest = max(len(waves[i]) for i in some)
        assert len(some) == 1 or len(some) * longest <= 320 * 16_000


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # by torch.compile itself
def test_peers_answer_what_the_encoder_does(load: Any, tmp_path: Path) -> None:
    peers: ModuleType = load("encode_gpu_peers")
    model = make_hubert(tmp_path, num_conv_pos_embeddings=15)
    model.encoder.layer_norm = torch.nn.Identity()
    encoder = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    host = make_waves([9_000, 16_000, 12_345, 16_000])
    waves = [torch.from_numpy(wave) for wave in host]
    features = [encoder(wave) for wave in waves]
    centroids = torch.cat(features)[::3]
    # The peers' products are in bfloat16: a squared distance may be off by so much.
    slack = 4 * 2**-8 * float(centroids.norm(dim=1).max()) ** 2
    distances = [torch.cdist(rows, centroids) ** 2 for rows in features]

    second = peers.B2(model, centroids, torch.float32)
    second.extract, second.block, second.assign = (
        second.model.feature_extractor,
        second._block,
        second.nearest,
    )

    def attend(q: Any, k: Any, v: Any, splits: Any, *_: Any) -> torch.Tensor:
        parts = [
            F.scaled_dot_product_attention(*(x[a:b].transpose(0, 1) for x in (q, k, v)))
            for a, b in pairwise(splits.tolist())
        ]
        return torch.cat(parts, 1).transpose(0, 1)

    second.attend = attend
    for peer in (peers.B1(model, centroids, torch.float32), second):
        for chosen in ([0, 1, 2, 3], [1, 3]):
            answers = peer([waves[i] for i in chosen])
            for i, units in zip(chosen, answers, strict=True):
                near = distances[i].gather(1, units[:, None])[:, 0]
                assert (near - distances[i].min(1).values).max() <= slack
                assert (units == distances[i].argmin(1)).double().mean() > 0.5


def test_from_flac_to_shards(load: Any, tmp_path: Path) -> None:
    bench: ModuleType = load("bench_encode_gpu")
    harness: ModuleType = load("harness")
    make_hubert(tmp_path)
    waves = [torch.from_numpy(wave) for wave in make_waves([9_000, 16_000, 12_345])]
    encoder = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    centroids = torch.cat([encoder(wave) for wave in waves])[::3].numpy()
    model = Discretizer.from_parts(
        encoder=tmp_path, centroids=centroids, layer=3, device="cpu", precision="exact"
    )
    run = harness.Benchmark("flac", console=Console(file=io.StringIO()))
    bench.from_flac(run, model, waves, rounds=2, repeats=1)
    assert run.figures["flac_agreement"] == 1.0
    assert run.figures["flac_over_model"] > 0
    assert run.figures["flac_rtfx"] > 0


def test_a_part_that_fails_costs_no_other(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: ModuleType = load("bench_encode_gpu")
    run = load("harness").Benchmark("parts", console=Console(file=io.StringIO()))
    saved: list[dict[str, float]] = []
    monkeypatch.setattr(run, "save", lambda: saved.append(dict(run.figures)))
    bench.attempt(run, "good", lambda: run.figure("first", 1))
    bench.attempt(run, "bad", lambda: run.figures["absent"])
    bench.attempt(run, "after it", lambda: run.figure("second", 2))
    assert saved == [{"first": 1}, {"first": 1}, {"first": 1, "second": 2}]
    assert run.settings["failed"] == {"bad": "KeyError: 'absent'"}


def test_the_readme_says_what_the_corpus_takes(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed: ModuleType = load("speed_section")
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    assert "On a GPU nothing has been measured yet." in speed.section()
    figures = {"vs_b1": 1.625, "rtfx": 12_345.6, "hours_for_42500": 3.4426}
    machine = {"gpu": "NVIDIA Test", "cpu": "", "cores": 1}
    result = {"bench": "encode_gpu", "date": "2000-01-01", "machine": machine, "figures": figures}
    (tmp_path / "encode_gpu_test_2000-01-01.json").write_text(json.dumps(result))
    said = speed.section()
    assert "batched transformers | 1.62x | NVIDIA Test | 2000-01-01 |" in said
    assert "At 12,346 times real time, model only, 42,500 hours of speech take 3.4 h on one" in said
