"""What the precision of the packed pass's products costs in units, emulated on a CPU.

    OMP_NUM_THREADS=1 python benchmarks/precision_agreement.py

The pass of `fast` on a GPU with `kernels_torch`, in float32, whose products get their operands
rounded first: all to float16, as `fast` does; then the linears of the blocks to 8 bits (e4m3, with
a scale for each row of activations and for each row of weights) as well. The share of frames that
keep float32's unit, on the bundled miniature with synthetic speech, and on random weights of
HuBERT-large's shape with noise. Sums are float32, so only the rounding of operands is seen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from bench_encode import speech
from harness import Benchmark
from random_hubert import LAYER, build
from torch import Tensor

import spire_dsu
from spire_dsu.features import Encoder
from spire_dsu.hubert import kernels_torch
from spire_dsu.hubert.checkpoint import load_checkpoint
from spire_dsu.hubert.packed import PackedForward, PackInput
from spire_dsu.hubert.packer import PackPiece, write
from spire_dsu.hubert.packing import PackShape
from spire_dsu.presets import resolve

Round = Callable[[Tensor], Tensor]
GREATEST = 448.0  # of e4m3


def to_half(x: Tensor) -> Tensor:
    """As float16 holds it."""
    return x.half().float()


def to_eighth(x: Tensor) -> Tensor:
    """As e4m3 holds each row, scaled so that its greatest number is the greatest there is."""
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / GREATEST
    return (x / scale).to(torch.float8_e4m3fn).float() * scale


def rounded(up: Round, others: Round) -> Any:
    """The kernels with operands of products rounded: those of the feed-forward's, and the rest."""

    def linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        chosen = up if max(weight.shape) > 3 * min(weight.shape) else others
        return to_half(kernels_torch.linear(chosen(rows), chosen(weight), bias))

    def product(
        rows: Tensor, weight: Tensor, bias: Tensor, gelu: bool, used: Tensor | None
    ) -> Tensor:
        chosen = up if gelu and weight.dim() == 2 else to_half
        made = kernels_torch.product(chosen(rows), chosen(weight), bias, gelu, used)
        return to_half(made)

    def attention(qkv: Tensor, tiles: Tensor, heads: int) -> Tensor:
        return to_half(kernels_torch.attention(qkv, tiles, heads))

    return SimpleNamespace(**{**vars(kernels_torch), "linear": linear, "product": product,
                              "attention": attention})  # fmt: skip


WAYS = {
    "fp16": rounded(to_half, to_half),
    "fp8_feed_forward": rounded(to_eighth, to_half),
    "fp8_linears": rounded(to_eighth, to_eighth),
}


def compare(
    bench: Benchmark, name: str, folder: Path, layer: int, waves: Sequence[np.ndarray],
    centroids: Tensor | None,
) -> None:  # fmt: skip
    """One figure for each way. Without centroids: the frames of the first half of the waves."""
    encoder = Encoder.from_pretrained(folder, layer=layer, device="cpu", precision="exact")
    truth = [encoder(wave) for wave in waves]
    if centroids is None:
        half = len(waves) // 2
        centroids, waves, truth = torch.cat(truth[:half]), waves[half:], truth[half:]
    del encoder
    units = spire_dsu.assign(torch.cat(truth), centroids)
    checkpoint = load_checkpoint(folder, layer)
    frames = sum(-(-wave.size // checkpoint.arch.hop) for wave in waves)
    shape = PackShape(checkpoint.arch, frames, len(waves))
    pack = PackInput.empty(shape, torch.device("cpu"))
    rows = write(pack, shape, [PackPiece(torch.from_numpy(w), None, 0, 0) for w in waves])
    bench.figure(f"frames_{name}", len(units))
    for way, kernels in WAYS.items():
        forward = PackedForward(
            checkpoint.arch, layer, checkpoint.tensors, dtype=torch.float32,
            device=torch.device("cpu"), eps=1e-5, kernels=kernels,
        )  # fmt: skip
        with torch.inference_mode():
            features = forward(shape, pack)[0][: rows.row_splits[-1]]
        same = spire_dsu.assign(features, centroids) == units
        error = (features - torch.cat(truth)).norm() / torch.cat(truth).norm()
        bench.figure(f"agreement_{way}_{name}", float(same.double().mean()))
        bench.figure(f"error_{way}_{name}", float(error))


def main() -> None:
    """Measure and write."""
    bench = Benchmark("precision_agreement")
    mini = resolve("mini")
    book = spire_dsu.Discretizer.from_pretrained("mini", device="cpu").codebook.centroids
    with torch.inference_mode():
        compare(
            bench, "mini", mini.encoder_folder(), mini.config.layer, speech(8, seed=3),
            torch.tensor(book),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder))
            rng = np.random.default_rng(0)
            noise = [rng.normal(0, 0.1, 80_000).astype(np.float32) for _ in range(2)]
            compare(bench, "random", Path(folder), LAYER, noise, None)
    bench.save()


if __name__ == "__main__":
    main()
