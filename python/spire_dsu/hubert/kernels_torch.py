"""What each kernel of the packed pass means, in plain PyTorch, on any device.

`kernels_triton` has the same functions for a GPU, with what is memory-bound fused; the tests hold
one against the other. Products take and give the dtype of their weights; sums are float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812, its common name
from torch import Tensor


def moments(stream_S: Tensor, extents_N2: Tensor, given_N2: Tensor, eps: float) -> Tensor:
    """float32 [N, 2]: mean, and 1 / sqrt(variance + eps), of each utterance, in float64.

    Args:
        stream_S: float32 samples.
        extents_N2: first sample and number of samples.
        given_N2: float32, what to return where the number is 0.
    """
    found = given_N2.clone()
    for row, (start, length) in enumerate(extents_N2.tolist()):
        if length:
            samples = stream_S[start : start + length].double()
            factor = (samples.var(unbiased=False) + eps) ** -0.5
            found[row] = torch.stack([samples.mean(), factor]).float()
    return found


def first_layer(
    stream_S: Tensor,
    moments_N2: Tensor,
    utterance_of_slot: Tensor,
    weight_CK: Tensor,
    root_KK: Tensor,
    shift_C: Tensor,
    kernel: int,
    stride: int,
    rows_a_slot: int,
    eps: float,
) -> Tensor:
    """[R, C]: waveform normalisation, convolution 0, its layer norm and GELU.

    Args:
        weight_CK: gain times the centred weight; column `kernel` is the bias, those after it zero.
        root_KK: |x @ root|^2 is the variance over channels of the convolution of x.
        shift_C: float32, the norm's bias.
    """
    rows = stream_S.unfold(0, kernel, stride)
    slot = torch.arange(len(rows), device=rows.device) // rows_a_slot
    owner = utterance_of_slot[slot.clamp(max=len(utterance_of_slot) - 1)]
    mean, factor = moments_N2[owner.long()].unbind(1)
    x = rows.new_zeros(len(rows), weight_CK.shape[1])
    x[:, :kernel] = (rows - mean[:, None]) * factor[:, None]
    x[:, kernel] = 1.0
    variance = (x @ root_KK).square().sum(1, keepdim=True)
    x = (x * (variance + eps).rsqrt()).to(weight_CK.dtype)
    return F.gelu(F.linear(x, weight_CK, shift_C.to(x.dtype)))


def linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[M, K] x [N, K] + [N] -> [M, N], by the library."""
    return F.linear(rows, weight, bias)


def product(rows: Tensor, weight: Tensor, bias: Tensor, gelu: bool, used: Tensor | None) -> Tensor:
    """[..., M, K] x [..., N, K] + [..., N] -> [..., M, N], the exact GELU after it if asked for.

    Args:
        rows: may overlap in memory; with a leading axis of groups, as weight and bias.
        used: int32 [1], rows of each group that matter; the others may be anything.
    """
    del used
    out = rows @ weight.transpose(-1, -2) + bias.unsqueeze(-2)
    return F.gelu(out) if gelu else out


def norm_gelu(rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Layer norm, then GELU; may overwrite `rows`."""
    normal = F.layer_norm(rows.float(), weight.shape, weight, bias, eps)
    return F.gelu(normal).to(rows.dtype)


def norm(
    rows: Tensor, index: Tensor | None, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> Tensor:
    """Layer norm of rows, or of rows[index]."""
    rows = rows if index is None else rows.index_select(0, index)
    return F.layer_norm(rows.float(), weight.shape, weight, bias, eps).to(dtype)


def sum_norm(state: Tensor, first: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """The layer norm of state + first, summed in float32, in the dtype of `first`."""
    return F.layer_norm(state + first, weight.shape, weight, bias, eps).to(first.dtype)


def add_norm(
    state: Tensor, first: Tensor, second: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """state += first; state += second, in float32; the layer norm of that in their dtype."""
    state += first
    state += second
    return F.layer_norm(state, weight.shape, weight, bias, eps).to(first.dtype)


def spaced(rows: Tensor, row_of_spaced: Tensor, groups: int) -> Tensor:
    """[M, D] -> [groups, P, D / groups]: each row in its place, zeros where there is none."""
    padded = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
    return (
        padded[row_of_spaced.long()]
        .view(len(row_of_spaced), groups, -1)
        .transpose(0, 1)
        .contiguous()
    )


def add_spaced(rows: Tensor, made: Tensor, spaced_of_row: Tensor) -> Tensor:
    """float32 [M, D]: rows plus what the positional convolution made of them, [groups, P, D/g]."""
    return rows.float() + made[:, spaced_of_row.long()].transpose(0, 1).flatten(1).float()


def attention(qkv: Tensor, tiles: Tensor, heads: int) -> Tensor:
    """[M, 3 D] -> [M, D]: attention within each utterance; queries come scaled.

    Rows of nobody are left as they are.
    """
    out = qkv.new_zeros(qkv.shape[0], qkv.shape[1] // 3)
    for _, start, stop in sorted(
        {tuple(tile) for tile in tiles.tolist() if tile[0] == tile[1] < tile[2]}
    ):
        q, k, v = qkv[start:stop].view(stop - start, 3, heads, -1).permute(1, 2, 0, 3)
        each = F.scaled_dot_product_attention(q[None], k[None], v[None], scale=1.0)[0]
        out[start:stop] = each.transpose(0, 1).reshape(stop - start, -1)
    return out
