"""The heavy operations of the forward pass, made ready once from their weights.

`TorchOps` is plain PyTorch and runs on any device. `OneDnnOps` is for CPUs: weights in oneDNN's own
blocked layout, bias and GELU inside the product. On two Zen 4 cores that takes a linear layer from
190 to 220 GFLOP/s in float32, and from 370 to 440 in bfloat16 (750 rows), and the positional
convolution from 84 to 59 ms, and from 51 to 29 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812, its common name
from torch import Tensor

Operation = Callable[[Tensor], Tensor]


class Ops(Protocol):
    """Makes operations on rows; `dtype` is what they take and give."""

    dtype: torch.dtype

    def linear(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Operation:
        """[M, in] -> [M, out], from float32 weight [out, in] and bias [out]; rows may overlap in
        memory. With `gelu`, the exact (erf) GELU follows."""
        ...

    def positional(self, weight: Tensor, bias: Tensor, groups: int) -> Operation:
        """[T + kernel - 1, D] -> [T, D]: a grouped convolution over rows without padding, then
        GELU; from float32 weight [D, D / groups, kernel] and bias [D]."""
        ...

    def attention(self, qkv: Tensor, row_splits: Sequence[int], heads: int) -> Tensor:
        """[T, 3 D] -> [T, D]: scaled dot-product attention within each row split. Queries come
        scaled."""
        ...

    def layer_norm(self, rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """[M, C] of any float dtype -> [M, C] of `dtype`; statistics in float32, as weight and
        bias."""
        ...


class TorchOps:
    """Plain PyTorch, on the device of the weights."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def linear(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Operation:
        weight, bias = weight.to(self.dtype), bias.to(self.dtype)

        def apply(rows: Tensor) -> Tensor:
            out = F.linear(rows, weight, bias)
            return F.gelu(out) if gelu else out

        return apply

    def positional(self, weight: Tensor, bias: Tensor, groups: int) -> Operation:
        weight, bias = weight.to(self.dtype), bias.to(self.dtype)

        def apply(rows: Tensor) -> Tensor:
            return F.gelu(F.conv1d(rows.t()[None], weight, bias, groups=groups))[0].t()

        return apply

    def attention(self, qkv: Tensor, row_splits: Sequence[int], heads: int) -> Tensor:
        size = qkv.shape[1] // 3
        out = qkv.new_empty(qkv.shape[0], size)
        for start, stop in pairwise(row_splits):
            q, k, v = qkv[start:stop].view(stop - start, 3, heads, -1).permute(1, 2, 0, 3)
            each = F.scaled_dot_product_attention(q[None], k[None], v[None], scale=1.0)[0]
            out[start:stop] = each.transpose(0, 1).reshape(stop - start, size)
        return out

    def layer_norm(self, rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return F.layer_norm(rows.float(), weight.shape, weight, bias, eps).to(self.dtype)


class OneDnnOps(TorchOps):
    """oneDNN through PyTorch's own operators for it, on a CPU."""

    # Attention in bfloat16 takes so many heads and rows at a time, by measurement.
    _HEADS = 4
    _ROWS = 512

    @staticmethod
    def available() -> bool:
        """Whether this PyTorch has the operators, tried on a tiny layer."""
        mkldnn: Any = torch.backends.mkldnn
        if not mkldnn.is_available():
            return False
        try:
            probe = OneDnnOps(torch.float32).linear(torch.ones(2, 2), torch.ones(2), gelu=True)
            rows = OneDnnOps(torch.float32).positional(torch.ones(2, 2, 1), torch.ones(2), 1)
            return bool(torch.isfinite(rows(probe(torch.ones(1, 2)))).all())
        except (AttributeError, NotImplementedError, RuntimeError):
            return False

    def linear(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Operation:
        mkldnn: Any = torch.ops.mkldnn
        packed = mkldnn._reorder_linear_weight(weight.to(self.dtype).contiguous())
        bias = bias.to(self.dtype)
        after: tuple[Any, ...] = (
            ("gelu", [], "none") if gelu else ("none", [], "")
        )  # "none": by erf, not by tanh

        def apply(rows: Tensor) -> Tensor:
            out: Tensor = mkldnn._linear_pointwise(rows, packed, bias, *after)
            return out

        return apply

    def positional(self, weight: Tensor, bias: Tensor, groups: int) -> Operation:
        mkldnn: Any = torch.ops.mkldnn
        size, _, kernel = weight.shape
        image = weight.to(self.dtype)[:, :, None].contiguous(memory_format=torch.channels_last)
        shape = ([0, 0], [1, 1], [1, 1], groups)  # padding, stride, dilation
        packed = mkldnn._reorder_convolution_weight(image, *shape, (1, size, 1, 512 + kernel))
        bias = bias.to(self.dtype)

        def apply(rows: Tensor) -> Tensor:
            length = rows.shape[0]
            # Rows are pixels of one channels-last image, as they lie.
            image = rows.as_strided((1, size, 1, length), (length * size, 1, length * size, size))
            out: Tensor = mkldnn._convolution_pointwise(
                image, packed, bias, *shape, "gelu", [], "none"
            )
            return out[0, :, 0].t()

        return apply

    def attention(self, qkv: Tensor, row_splits: Sequence[int], heads: int) -> Tensor:
        if self.dtype == torch.float32:
            return super().attention(qkv, row_splits, heads)
        # PyTorch's own kernel takes as long in bfloat16 as in float32 (15 ms for 500 frames on one
        # core); two products with a softmax between take 11. Scores are then stored in bfloat16;
        # units agree with float32 as often as with float32 scores (98.4 to 99.2 %).
        size = qkv.shape[1] // 3
        out = qkv.new_empty(qkv.shape[0], size)
        for start, stop in pairwise(row_splits):
            frames = stop - start
            parts = qkv[start:stop].view(frames, 3, heads, -1).permute(1, 2, 0, 3).contiguous()
            mixed = torch.empty_like(parts[0])
            for head in range(0, heads, self._HEADS):
                some = slice(head, head + self._HEADS)
                q, k, v = parts[:, some]
                self._mix(q, k, v, mixed[some])
            out[start:stop] = mixed.transpose(0, 1).reshape(frames, size)
        return out

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, mixed: Tensor) -> None:
        """Attention of a few heads, [H, T, d] each, into `mixed`; in blocks, to bound memory."""
        heads, frames, _ = q.shape
        block = min(frames, self._ROWS)
        scores, shares = q.new_empty(2, heads * block * frames)
        for row in range(0, frames, block):
            queries = q[:, row : row + block]
            shape = (heads, queries.shape[1], frames)
            score, share = (each[: math.prod(shape)].view(shape) for each in (scores, shares))
            torch.bmm(queries, k.transpose(1, 2), out=score)
            torch.softmax(score, -1, out=share)  # computes in float32
            torch.bmm(share, v, out=mixed[:, row : row + block])

    def layer_norm(self, rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        # On a CPU the kernel itself takes bfloat16 rows with float32 weights.
        return F.layer_norm(rows, weight.shape, weight, bias, eps).to(self.dtype)
