"""What `bench_encode_gpu` is measured beside: HuBERT on a GPU as people run it, and at its best.

All take float32 waveforms in device memory and give the units of each frame on the device. B0 and
B1 are transformers' HubertModel cut to the layer; B2 is the same modules with `torch.compile`, no
padding in the blocks, variable-length attention, and the fastest public nearest-centroid kernel.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import HubertModel

from spire_dsu.types import num_frames

EPS = 1e-5
BATCH_SECONDS = 320.0

Encode = Callable[[Sequence[Tensor]], list[Tensor]]
"""Waveforms [S] in, the unit of each frame [T] out."""


def normalised(wave: Tensor) -> Tensor:
    """Zero mean, unit variance, as fairseq does it."""
    return (wave - wave.mean()) * torch.rsqrt(wave.var(unbiased=False) + EPS)


def batches(waves: Sequence[Tensor]) -> list[list[int]]:
    """Numbers of waves, sorted by length, in batches of at most so much audio with its padding."""
    order = sorted(range(len(waves)), key=lambda i: -len(waves[i]))
    found: list[list[int]] = []
    while order:
        size = max(1, int(BATCH_SECONDS * 16_000 / len(waves[order[0]])))
        found.append(order[:size])
        order = order[size:]
    return found


def padded(waves: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """[N, S] and the mask of what is real, where anything is padding."""
    lengths = torch.tensor([len(wave) for wave in waves], device=waves[0].device)
    batch = waves[0].new_zeros(len(waves), max(len(wave) for wave in waves))
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = normalised(wave)
    even = all(len(wave) == batch.shape[1] for wave in waves)
    places = torch.arange(batch.shape[1], device=batch.device)
    return batch.to(dtype), None if even else (places < lengths[:, None]).long()


class B0:
    """One file at a time in float32; features to the host and back; the matrix of distances."""

    def __init__(self, model: HubertModel, centroids: Tensor) -> None:
        self.model, self.centroids = model, centroids.t().contiguous()
        self.norms = centroids.square().sum(1)

    def __call__(self, waves: Sequence[Tensor]) -> list[Tensor]:
        found = []
        with torch.inference_mode():
            for wave in waves:
                features = self.model(normalised(wave)[None]).last_hidden_state[0].cpu()
                x = features.cuda()
                distances = (
                    x.square().sum(1, keepdim=True) - 2 * torch.mm(x, self.centroids) + self.norms
                )
                found.append(distances.argmin(1))
        return found


class B1:
    """Half precision, SDPA, batches sorted by length, a mask where there is padding."""

    def __init__(self, model: HubertModel, centroids: Tensor, dtype: torch.dtype) -> None:
        self.model = copy.deepcopy(model).to(dtype)
        # Squared norms of features may exceed float16; bfloat16 products take the same time.
        self.dtype, self.centroids = dtype, centroids.bfloat16()
        self.half_norms = (0.5 * centroids.square().sum(1)).bfloat16()

    def __call__(self, waves: Sequence[Tensor]) -> list[Tensor]:
        found: dict[int, Tensor] = {}
        with torch.inference_mode():
            for some in batches(waves):
                batch, mask = padded([waves[i] for i in some], self.dtype)
                states = self.model(batch, attention_mask=mask).last_hidden_state
                for i, rows in zip(some, states, strict=True):
                    found[i] = self.nearest(rows[: num_frames(len(waves[i]))])
        return [found[i] for i in range(len(waves))]

    def nearest(self, rows: Tensor) -> Tensor:
        return torch.addmm(self.half_norms, rows.bfloat16(), self.centroids.t(), alpha=-1).argmin(1)


class B2(B1):
    """The best of PyTorch: compiled, blocks on real frames alone, variable-length attention."""

    def __init__(self, model: HubertModel, centroids: Tensor, dtype: torch.dtype) -> None:
        super().__init__(model, centroids, dtype)
        from torch.nn.attention.varlen import varlen_attn

        torch._dynamo.config.recompile_limit = 64
        self.attend: Any = varlen_attn
        self.heads = model.config.num_attention_heads
        self.extract: Any = torch.compile(self.model.feature_extractor, dynamic=True)
        self.block: Any = torch.compile(self._block, dynamic=True)
        self.assign = self._public_kernel(centroids)

    def __call__(self, waves: Sequence[Tensor]) -> list[Tensor]:
        found: dict[int, Tensor] = {}
        with torch.inference_mode():
            for some in batches(waves):
                counts = [num_frames(len(waves[i])) for i in some]
                units = self.assign(self._features([waves[i] for i in some], counts))
                found.update(zip(some, units.split(counts), strict=True))
        return [found[i] for i in range(len(waves))]

    def _features(self, waves: Sequence[Tensor], counts: list[int]) -> Tensor:
        batch, _ = padded(waves, self.dtype)
        rows = self.model.feature_projection(self.extract(batch).transpose(1, 2))
        rows = rows[0] if isinstance(rows, tuple) else rows
        real = torch.arange(rows.shape[1], device=rows.device) < torch.tensor(
            counts, device=rows.device
        ).unsqueeze(1)
        rows = rows * real.unsqueeze(2)  # the positional convolution hears what is there
        x = (rows + self.model.encoder.pos_conv_embed(rows))[real]
        splits = torch.tensor([0, *itertools.accumulate(counts)], device=x.device).int()
        for layer in self.model.encoder.layers:
            x = self.block(layer, x, splits, max(counts))
        return x

    def _block(self, layer: Any, x: Tensor, splits: Tensor, longest: int) -> Tensor:
        normal, attention = layer.layer_norm(x), layer.attention
        q, k, v = (
            projection(normal).view(len(x), self.heads, -1)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mixed = self.attend(q, k, v, splits, splits, longest, longest)
        x = x + attention.out_proj(mixed.flatten(1))
        return x + layer.feed_forward(layer.final_layer_norm(x))

    def _public_kernel(self, centroids: Tensor) -> Callable[[Tensor], Tensor]:
        if importlib.util.find_spec("flash_kmeans") is None:
            return self.nearest
        from flash_kmeans.assign_euclid_triton import euclid_assign_triton

        c = centroids.to(self.dtype).unsqueeze(0)
        c_sq = c.float().square().sum(-1)

        def assign(rows: Tensor) -> Tensor:
            x_sq = rows.float().square().sum(1).unsqueeze(0)
            out = torch.empty(1, len(rows), dtype=torch.int32, device=rows.device)
            return euclid_assign_triton(rows.unsqueeze(0), c, x_sq, out=out, c_sq=c_sq)[0]

        return assign
