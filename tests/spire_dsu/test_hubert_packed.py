"""The packed pass against the encoder, one utterance at a time; its kernels against their meaning.

Triton's kernels run in its interpreter, which needs no GPU.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import make_hubert, make_waves, save_hubert

from spire_dsu.features import Encoder
from spire_dsu.hubert import kernels_torch
from spire_dsu.hubert.arithmetic import plain_arithmetic
from spire_dsu.hubert.checkpoint import load_checkpoint
from spire_dsu.hubert.packed import PackedForward, PackInput, can_pack
from spire_dsu.hubert.packer import PackPiece, write
from spire_dsu.hubert.packing import PackShape
from spire_dsu.hubert.waveform import Normalised
from spire_dsu.types import Float32

LENGTHS = [400, 719, 720, 5_000, 16_000, 24_001, 640]
CPU = torch.device("cpu")
HERE = Path(__file__).parent


def forward_of(folder: Path, dtype: torch.dtype = torch.float32, layer: int = 3) -> PackedForward:
    checkpoint = load_checkpoint(folder, layer)
    return PackedForward(
        checkpoint.arch, layer, checkpoint.tensors,
        dtype=dtype, device=CPU, eps=1e-5, kernels=kernels_torch,
    )  # fmt: skip


def run(
    folder: Path, waves: Sequence[Float32], *, dtype: torch.dtype = torch.float32, layer: int = 3,
    pieces: Sequence[PackPiece] | None = None, frames: int = 256,
) -> list[tuple[torch.Tensor, bool]]:  # fmt: skip
    """Features of each utterance, and whether they are finite, from one pass."""
    forward = forward_of(folder, dtype, layer)
    shape = PackShape(load_checkpoint(folder, layer).arch, frames, 8)
    pack = PackInput.empty(shape, CPU)
    pack.stream.normal_(0, 100, generator=torch.Generator().manual_seed(1))  # of another pack
    whole = [PackPiece(torch.from_numpy(wave), None, 0, 0) for wave in waves]
    layout = write(pack, shape, pieces or whole)
    rows, finite = forward(shape, pack)
    splits = layout.row_splits
    return [(rows[a:b], bool(finite[a:b].all())) for a, b in pairwise(splits)]


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    "flavour", ["large", "large-no-bias", "wide-kernel", "odd-kernel", "odd-heads"]
)
def test_a_pack_is_the_encoder_on_each_alone(flavour: str, tmp_path: Path) -> None:
    make_hubert(tmp_path, flavour, seed=5)
    waves = make_waves(LENGTHS)
    for layer in (0, 3):
        alone = Encoder.from_pretrained(tmp_path, layer=layer, device="cpu")
        for wave, (features, finite) in zip(waves, run(tmp_path, waves, layer=layer), strict=True):
            assert finite
            assert error(features, alone(wave)) < 2e-5


def test_a_window_takes_the_moments_of_its_whole(tmp_path: Path) -> None:
    make_hubert(tmp_path)
    (wave,) = make_waves([12_000])
    normalised = Normalised(torch.from_numpy(wave), 1e-5)
    piece = PackPiece(torch.from_numpy(wave)[3_200:9_600], normalised.moments, 0, 0)
    ((features, _),) = run(tmp_path, [], pieces=[piece])
    plain = Encoder.from_pretrained(tmp_path, layer=3, device="cpu", normalize_eps=None)
    assert error(features, plain(normalised.slice(3_200, 9_600))) < 2e-5


def test_neighbours_and_the_room_left_change_nothing(tmp_path: Path) -> None:
    """Plain PyTorch's products may round otherwise; what leaked would show at this ratio."""
    make_hubert(tmp_path)
    quiet, other = make_waves([6_000, 6_001])
    ((alone, _),) = run(tmp_path, [quiet])
    for waves in ([quiet, other * np.float32(1e4)], [other * np.float32(1e6), quiet, other]):
        place = next(i for i, wave in enumerate(waves) if wave is quiet)
        assert error(run(tmp_path, waves)[place][0], alone) < 2e-5


def test_what_float16_cannot_hold_is_told_and_stays_with_its_utterance(tmp_path: Path) -> None:
    model = make_hubert(tmp_path / "plain")
    with torch.no_grad():
        model.encoder.layers[1].feed_forward.output_dense.weight.mul_(3e5)
    save_hubert(model, tmp_path / "steep")
    waves = make_waves([4_000, 4_001])
    assert [finite for _, finite in run(tmp_path / "plain", waves, dtype=torch.float16)] == [
        True
    ] * 2
    assert not all(finite for _, finite in run(tmp_path / "steep", waves, dtype=torch.float16))
    wide = run(tmp_path / "steep", waves, dtype=torch.bfloat16)
    exact = Encoder.from_pretrained(tmp_path / "steep", layer=3, device="cpu")
    for wave, (features, finite) in zip(waves, wide, strict=True):
        assert finite
        assert error(features, exact(wave)) < 0.1


def test_only_models_that_normalise_by_rows_are_packed(tmp_path: Path) -> None:
    for flavour, packs in {
        "large": True, "odd-heads": True, "base": False, "group-pre-norm": False,
        "layer-post-norm": False, "batch-norm": False, "base-no-projection-norm": False,
    }.items():  # fmt: skip
        make_hubert(tmp_path / flavour, flavour)
        assert can_pack(load_checkpoint(tmp_path / flavour, 1).arch) == packs


def test_settings_of_the_process_come_back() -> None:
    matmul = torch.backends.cuda.matmul
    names = [
        f"allow_{kind}_reduced_precision_reduction{part}"
        for kind in ("fp16", "bf16")
        for part in ("", "_split_k")
    ]
    before = [getattr(matmul, name) for name in names]
    with plain_arithmetic("cpu"):
        assert [getattr(matmul, name) for name in names] == [False] * 4
        with plain_arithmetic("cpu"):
            pass
        assert [getattr(matmul, name) for name in names] == [False] * 4
    assert [getattr(matmul, name) for name in names] == before


def test_the_kernels_do_what_their_meaning_says() -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed here; it has no build for this machine")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", str(HERE.parent / "packed_kernels.py"), "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
