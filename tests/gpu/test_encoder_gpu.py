"""The encoder on a GPU: kernels, the CPU's features, neighbours, replays, overflows, lengths."""

from __future__ import annotations

import importlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import FLAVOURS, make_hubert, make_waves, save_hubert
from on_gpu import SEED, needs_gpu

import spire_dsu
from spire_dsu.config import ChunkingConfig
from spire_dsu.features import Encoder, FeatureBlock
from spire_dsu.hubert.packed import PackInput
from spire_dsu.hubert.packer import PackPiece, write

pytestmark = needs_gpu

LENGTHS = [400, 401, 719, 399, 5_000, 16_000, 24_001, 1, 9_999, 640, 12_345, 48_000]
SIZES = {"hidden_size": 128, "intermediate_size": 256, "conv_dim": (64,) * 7}


def rows(blocks: list[FeatureBlock]) -> list[torch.Tensor]:
    """The features of each utterance."""
    found: dict[int, list[torch.Tensor]] = {}
    for block in blocks:
        for row, (start, stop) in enumerate(pairwise(block.row_splits.tolist())):
            found.setdefault(block.first + row, []).append(block.features[start:stop])
    return [torch.cat(parts) for parts in found.values()]


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    assert ours.dtype == torch.float32
    return float((ours.cpu() - theirs).abs().max() / theirs.abs().max()) if len(ours) else 0.0


def test_every_kernel_does_what_its_meaning_says() -> None:
    script = Path(__file__).resolve().parents[1] / "packed_kernels.py"
    done = subprocess.run([sys.executable, str(script), "cuda"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_exact_is_the_cpus(flavour: str, tmp_path: Path) -> None:
    make_hubert(tmp_path, flavour, seed=2)
    host = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    device = Encoder.from_pretrained(tmp_path, layer=3, device="cuda")
    waves = make_waves(LENGTHS)
    found = rows(list(device.stream(waves)))
    for wave, features in zip(waves, found, strict=True):
        assert error(features, host(wave)) < 2e-5
        assert torch.equal(device(wave), features)


def test_exact_units_are_the_cpus_beyond_the_margin(tmp_path: Path) -> None:
    make_hubert(tmp_path, **SIZES)
    host = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    device = Encoder.from_pretrained(tmp_path, layer=3, device="cuda")
    waves = make_waves([48_000] * 6, seed=SEED % 1_000)
    features = torch.cat([host(wave) for wave in waves])
    centroids = features[::4].contiguous()
    distances = torch.cdist(features.double(), centroids.double()).square()
    (best, second), places = (part.T for part in distances.topk(2, dim=1, largest=False))
    clear = (second - best) > 1e-4 * second
    ours = spire_dsu.assign(torch.cat([device(wave) for wave in waves]), centroids.cuda())
    assert clear.double().mean() > 0.9
    assert (ours.cpu() == places[0])[clear].all()


@pytest.mark.parametrize(
    "flavour", ["large", "large-no-bias", "wide-kernel", "odd-kernel", "odd-heads"]
)
def test_fast_is_near(flavour: str, tmp_path: Path) -> None:
    make_hubert(tmp_path, flavour)
    host = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    fast = Encoder.from_pretrained(tmp_path, layer=3, device="cuda", precision="fast")
    assert fast.precision == "fast"
    waves = make_waves(LENGTHS)
    for given in (waves, [torch.from_numpy(wave).cuda() for wave in waves]):
        for wave, features in zip(waves, rows(list(fast.stream(given))), strict=True):
            assert error(features, host(wave)) < 0.02
    assert fast.overflows == 0


@pytest.mark.parametrize("flavour", ["base", "group-pre-norm", "layer-post-norm", "batch-norm"])
def test_other_models_run_right_if_slower(flavour: str, tmp_path: Path) -> None:
    make_hubert(tmp_path, flavour)
    host = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    assert (
        Encoder.from_pretrained(tmp_path, layer=3, device="cuda", precision="auto").precision
        == "exact"
    )
    with pytest.warns(RuntimeWarning, match="norms are not those"):
        device = Encoder.from_pretrained(tmp_path, layer=3, device="cuda", precision="fast")
    (wave,) = make_waves([20_000])
    assert error(device(wave), host(wave)) < 2e-5


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_neighbours_change_no_bit(precision: str, tmp_path: Path) -> None:
    make_hubert(tmp_path, **SIZES)
    encoder = Encoder.from_pretrained(tmp_path, layer=3, device="cuda", precision=precision)
    waves = make_waves([length for length in LENGTHS if length >= 400] * 3, seed=SEED % 1_000)
    alone = [encoder(wave) for wave in waves]
    rng = np.random.default_rng(SEED)
    for _ in range(20):
        order = rng.integers(0, len(waves), 60)
        found = rows(list(encoder.stream(waves[i] for i in order)))
        for features, i in zip(found, order, strict=True):
            assert torch.equal(features, alone[i])


def test_a_replay_gives_what_the_pass_gives(tmp_path: Path) -> None:
    make_hubert(tmp_path, **SIZES)
    encoder = Encoder.from_pretrained(tmp_path, layer=3, device="cuda", precision="fast")
    packer = encoder._packer
    assert packer is not None
    for turn in range(3):  # the first call captures
        waves = make_waves([6_000, 30_000, 400], seed=turn)
        pieces = [
            PackPiece(torch.from_numpy(w), None, 0, encoder.num_frames(w.size)) for w in waves
        ]
        host = PackInput.empty(packer.shape, torch.device("cpu"), pinned=True)
        layout = write(host, packer.shape, pieces)
        pack = PackInput.empty(packer.shape, encoder.device)
        pack.copy_from(host)
        state, finite = packer._forward(packer.shape, pack)
        total = layout.row_splits[-1]
        assert finite[:total].all()
        replayed = torch.cat(rows(list(encoder.stream(waves))))
        assert torch.equal(replayed, state[:total])


def test_what_overflows_goes_through_bfloat16(tmp_path: Path) -> None:
    model = make_hubert(tmp_path / "plain")
    with torch.no_grad():
        model.encoder.layers[1].feed_forward.output_dense.weight.mul_(3e5)
    save_hubert(model, tmp_path / "steep")
    host = Encoder.from_pretrained(tmp_path / "steep", layer=3, device="cpu")
    fast = Encoder.from_pretrained(tmp_path / "steep", layer=3, device="cuda", precision="fast")
    waves = make_waves([4_000, 399, 30_000])
    for wave, features in zip(waves, rows(list(fast.stream(waves))), strict=True):
        assert error(features, host(wave)) < 0.1
    assert fast.overflows == 2


def test_long_audio_in_windows_and_uncut(tmp_path: Path) -> None:
    make_hubert(tmp_path)
    (wave,) = make_waves([400_000])
    windows = ChunkingConfig(window_seconds=6.0, overlap_seconds=1.0)
    for chunking in (windows, ChunkingConfig(policy="none")):
        host = Encoder.from_pretrained(tmp_path, layer=2, device="cpu", chunking=chunking)
        fast = Encoder.from_pretrained(
            tmp_path, layer=2, device="cuda", precision="fast", chunking=chunking, pack_seconds=8.0
        )
        assert error(fast(wave), host(wave)) < 0.02  # uncut, it is longer than a pack


def test_memory_does_not_grow(tmp_path: Path) -> None:
    make_hubert(tmp_path)
    fast = Encoder.from_pretrained(tmp_path, layer=3, device="cuda", precision="fast")
    waves = make_waves([40_000] * 40)
    held = []
    for _ in range(4):
        for block in fast.stream(waves):
            del block
        torch.cuda.synchronize()
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[-1]


def test_fast_units_of_the_miniature() -> None:
    importlib.import_module("spire_dsu._cuda")
    waves = make_waves([60_000, 399, 90_000])
    exact = spire_dsu.Discretizer.from_pretrained("mini", device="cpu").encode(waves)
    fast = spire_dsu.Discretizer.from_pretrained("mini", device="cuda").encode(waves)
    same = [
        (a.to_frames() == b.to_frames()).mean()
        for a, b in zip(exact, fast, strict=True)
        if a.ids.size
    ]
    assert np.mean(same) > 0.98
