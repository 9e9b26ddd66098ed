"""Rows of the extractor become features: projection, positional convolution, blocks.

Utterances lie one after another without padding. All but two operations work row by row; the two
are the positional convolution, which gets zero rows between utterances, and attention, which is
told where each utterance ends. The residual stream stays float32 whatever the products use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812, its common name
from torch import Tensor

from spire_dsu.hubert.architecture import Architecture
from spire_dsu.hubert.checkpoint import POSITIONAL
from spire_dsu.hubert.ops import Operation, Ops

_BATCH_NORM_EPS = 1e-5  # PyTorch's default, which transformers takes


Norm = tuple[Tensor, Tensor]
"""Weight and bias of a layer norm, float32."""


class Transformer:
    """Everything after the extractor, ready to run on the device of its weights."""

    def __init__(
        self, arch: Architecture, layer: int, tensors: Mapping[str, Tensor], ops: Ops
    ) -> None:
        """Args: layer: blocks to run; tensors: by name, on the wanted device."""
        self._ops, self._eps = ops, arch.layer_norm_eps
        self._input_norm = (
            _norm(tensors, "feature_projection.layer_norm") if arch.feat_proj_layer_norm else None
        )
        name = "feature_projection.projection"
        self._project = ops.linear(tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        self._kernel = arch.num_conv_pos_embeddings
        self._positional = ops.positional(
            tensors[f"{POSITIONAL}.weight"],
            tensors[f"{POSITIONAL}.bias"],
            arch.num_conv_pos_embedding_groups,
        )
        self._batch_norm = _batch_norm(tensors) if arch.conv_pos_batch_norm else None
        # A post-norm model normalises here; the norm that a pre-norm one keeps for the very end
        # is no part of any layer's output.
        self._norm = None if arch.do_stable_layer_norm else _norm(tensors, "encoder.layer_norm")
        self._blocks = [_Block(arch, tensors, index, ops) for index in range(layer)]

    def __call__(self, rows: Tensor, row_splits: Sequence[int]) -> Tensor:
        """The output of the last block, float32 [T, D]: transformers' hidden_states[layer].

        Args:
            rows: [T, C] of the extractor, the utterances one after another.
            row_splits: 0, the end of each utterance in turn, T.
        """
        if self._input_norm is not None:
            rows = self._ops.layer_norm(rows, *self._input_norm, self._eps)
        state = self._project(rows).float()
        state = state + self._positions(state, row_splits)
        if self._norm is not None:
            state = _normalise(state, self._norm, self._eps)
        for block in self._blocks:
            state = block(state, row_splits)
        return state

    def _positions(self, state: Tensor, row_splits: Sequence[int]) -> Tensor:
        """[T, D] -> [T, D]: the convolution over each utterance between zero rows."""
        before = self._kernel // 2  # as transformers pads; one row fewer follows an even kernel
        length = row_splits[-1] + before * (len(row_splits) - 2) + self._kernel - 1
        padded = state.new_zeros((length, state.shape[1]), dtype=self._ops.dtype)
        if self._batch_norm is not None:
            scale, shift = self._batch_norm
            state = state * scale + shift
        for index, (start, stop) in enumerate(pairwise(row_splits)):
            offset = before * (index + 1)
            padded[start + offset : stop + offset] = state[start:stop]
        rows = self._positional(padded)
        if len(row_splits) == 2:
            return rows
        return torch.cat(
            [
                rows[start + before * index : stop + before * index]
                for index, (start, stop) in enumerate(pairwise(row_splits))
            ]
        )


class _Block:
    """One transformer block."""

    def __init__(
        self, arch: Architecture, tensors: Mapping[str, Tensor], index: int, ops: Ops
    ) -> None:
        name = f"encoder.layers.{index}"
        self._ops, self._heads, self._eps = ops, arch.num_attention_heads, arch.layer_norm_eps
        self._norm_first = arch.do_stable_layer_norm
        # 1 / sqrt(head size) goes into the weights of the queries; for published sizes it is 1/8,
        # which changes no digit of them.
        scale = (arch.hidden_size // arch.num_attention_heads) ** -0.5
        scales = {"q_proj": scale, "k_proj": 1.0, "v_proj": 1.0}
        self._qkv = ops.linear(
            torch.cat([tensors[f"{name}.attention.{p}.weight"] * s for p, s in scales.items()]),
            torch.cat([tensors[f"{name}.attention.{p}.bias"] * s for p, s in scales.items()]),
        )

        def linear(part: str, *, gelu: bool = False) -> Operation:
            full = f"{name}.{part}"
            return ops.linear(tensors[f"{full}.weight"], tensors[f"{full}.bias"], gelu=gelu)

        self._out = linear("attention.out_proj")
        self._up = linear("feed_forward.intermediate_dense", gelu=True)
        self._down = linear("feed_forward.output_dense")
        self._norm_1 = _norm(tensors, f"{name}.layer_norm")
        self._norm_2 = _norm(tensors, f"{name}.final_layer_norm")

    def __call__(self, state: Tensor, row_splits: Sequence[int]) -> Tensor:
        """float32 [T, D] -> the same; `state` is overwritten."""
        if self._norm_first:
            state += self._attend(self._ops.layer_norm(state, *self._norm_1, self._eps), row_splits)
            state += self._feed(self._ops.layer_norm(state, *self._norm_2, self._eps))
            return state
        state += self._attend(state.to(self._ops.dtype), row_splits)
        state = _normalise(state, self._norm_1, self._eps)
        state += self._feed(state.to(self._ops.dtype))
        return _normalise(state, self._norm_2, self._eps)

    def _attend(self, rows: Tensor, row_splits: Sequence[int]) -> Tensor:
        return self._out(self._ops.attention(self._qkv(rows), row_splits, self._heads))

    def _feed(self, rows: Tensor) -> Tensor:
        return self._down(self._up(rows))


def _norm(tensors: Mapping[str, Tensor], name: str) -> Norm:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def _normalise(state: Tensor, norm: Norm, eps: float) -> Tensor:
    """Layer norm of the residual stream, which stays float32."""
    return F.layer_norm(state, norm[0].shape, *norm, eps)


def _batch_norm(tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The batch norm before the positional convolution, as scale and shift of each channel."""
    name = "encoder.pos_conv_embed.batch_norm"
    deviation = (tensors[f"{name}.running_var"].double() + _BATCH_NORM_EPS).sqrt()
    scale = tensors[f"{name}.weight"].double() / deviation
    shift = tensors[f"{name}.bias"].double() - tensors[f"{name}.running_mean"].double() * scale
    return scale.float(), shift.float()
