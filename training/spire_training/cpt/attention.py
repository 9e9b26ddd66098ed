"""Attention that stays inside of a document, and positions that restart at its beginning.

On the local layers of megatron-core (CPU, or a GPU without Transformer Engine) the documents of a
micro-batch are taken out of their rows, brought together with others of about their length, and
attended each for itself, causally. So nothing crosses a border by construction, no mask of length x
length is made, and a row of four documents costs a quarter of one long one. With Transformer Engine
the same is said by the lengths of the documents (`packed_sequences`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spire_training.cpt.data import Batch

_LONGEST_UNFUSED = 1024
"""Above this, the scores of a document are too large to be kept."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Where the documents of a micro-batch are, made once and used by every layer.

    Tokens are counted over the micro-batch as megatron-core keeps it, [L, B] flattened.

    Attributes:
        shapes: documents and longest length of each group; a group's shorter documents are filled
            up at their end, where causal attention does not let the others see it.
        taken: int64 [all places of all groups], the token at each place.
        real: bool, the same places, False where a document is filled up.
        places: int64 [L * B], where each token is among those places.
        cos: [L, B, 1, head], of the angles by place in the document.
        sin: the same.
    """

    shapes: tuple[tuple[int, int], ...]
    taken: Tensor
    real: Tensor
    places: Tensor
    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, batch: Batch, inverse_frequencies: Tensor, dtype: torch.dtype) -> Documents:
        """Finds the documents of a micro-batch.

        Args:
            batch: the micro-batch.
            inverse_frequencies: float32 [head / 2], of the rotary embedding.
            dtype: of the activations.
        """
        rows, length = batch.positions.shape
        where = batch.positions.device
        starts = torch.nonzero(batch.positions.flatten() == 0).flatten()
        end = torch.tensor([rows * length], device=where)
        lengths = torch.diff(torch.cat((starts, end)))
        # Half powers of two: a document is filled up by under half of its length.
        sizes = (2 * torch.log2(lengths.float())).ceil().long()
        shapes, taken, real = [], [], []
        for size in torch.unique(sizes).tolist():
            begin, count = starts[sizes == size, None], lengths[sizes == size, None]
            steps = torch.arange(int(count.max()), device=where)
            shapes.append((len(begin), len(steps)))
            taken.append((begin + torch.minimum(steps, count - 1)).flatten())
            real.append((steps < count).flatten())
        tokens, is_real = torch.cat(taken), torch.cat(real)
        # Counted row by row up to here, [B, L]; the activations are [L, B].
        tokens = tokens % length * rows + tokens // length
        places = torch.empty(rows * length, dtype=torch.int64, device=where)
        places[tokens[is_real]] = torch.nonzero(is_real).flatten()
        angles = batch.positions.T.float()[..., None] * inverse_frequencies
        angles = torch.cat((angles, angles), dim=-1)[:, :, None]
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        return cls(tuple(shapes), tokens, is_real, places, cos, sin)

    def split(self, tokens: Tensor) -> list[Tensor]:
        """[L, B, heads, head] -> [documents, heads, longest, head] for each group."""
        places: Tensor = _Split.apply(tokens.flatten(0, 1), self)  # type: ignore[no-untyped-call]
        parts = torch.split(places, [documents * longest for documents, longest in self.shapes])
        return [
            part.view(*shape, *tokens.shape[2:]).transpose(1, 2)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def joined(self, groups: list[Tensor]) -> Tensor:
        """[documents, heads, longest, head] for each group -> [L * B, heads * head]."""
        flat = [group.transpose(1, 2).flatten(2).flatten(0, 1) for group in groups]
        joined: Tensor = _Join.apply(torch.cat(flat), self)  # type: ignore[no-untyped-call]
        return joined

    def rotated(self, x: Tensor) -> Tensor:
        """Rotary embedding of [L, B, heads, head], by halves, as Llama's."""
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat((-second, first), dim=-1) * self.sin


class LocalAttention(nn.Module):
    """Rotary embedding and attention, in the place of megatron-core's unfused attention.

    Same constructor and call as megatron-core's `DotProductAttention`, but for the mask's place,
    in which it takes the `Documents`.
    """

    def __init__(
        self,
        config: Any,
        layer_number: int,  # noqa: ARG002  (megatron-core names them all)
        attn_mask_type: Any,  # noqa: ARG002
        attention_type: str,  # noqa: ARG002
        softmax_scale: float | None = None,
        **unused: Any,  # noqa: ARG002
    ) -> None:
        super().__init__()
        self._scale = softmax_scale or 1 / math.sqrt(config.kv_channels)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Documents,
        **unused: Any,  # noqa: ARG002
    ) -> Tensor:
        """Query [L, B, heads, head], key and value [L, B, groups, head] -> [L, B, heads * head]."""
        documents = attention_mask
        length, rows, heads, _ = query.shape
        query, key = documents.rotated(query), documents.rotated(key)
        if heads != key.shape[2]:  # torch's fast path on a CPU wants a key for each query head
            key, value = (x.repeat_interleave(heads // x.shape[2], dim=2) for x in (key, value))
        parts = zip(*(documents.split(x) for x in (query, key, value)), strict=True)
        return documents.joined([self._attend(*part) for part in parts]).view(length, rows, -1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Causal attention, [documents, heads, longest, head] each."""
        longest = query.shape[2]
        if query.device.type != "cpu" or query.dtype == torch.float32 or longest > _LONGEST_UNFUSED:
            return functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, scale=self._scale
            )
        # On a CPU, torch's attention in bfloat16 is half as fast as two matrix products.
        unseen = query.new_full((longest, longest), float("-inf")).triu(1)
        query, key, value_ = (x.flatten(0, 1) for x in (query, key, value))
        scores = torch.baddbmm(unseen, query, key.transpose(1, 2), alpha=self._scale)
        return torch.bmm(scores.softmax(dim=-1), value_).view(value.shape)


class _Split(torch.autograd.Function):
    """Tokens to places. What is filled up gets no gradient, so the way back is a plain selection,
    where torch would add up into zeros."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, documents: Documents) -> Tensor:
        ctx.documents = documents
        return tokens.index_select(0, documents.taken)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None]:
        return grads.index_select(0, ctx.documents.places), None


class _Join(torch.autograd.Function):
    """Places to tokens; on the way back, zero where a document is filled up."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, documents: Documents) -> Tensor:
        ctx.documents = documents
        return places.index_select(0, documents.places)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None]:
        taken = grads.index_select(0, ctx.documents.taken)
        return taken.mul_(ctx.documents.real[:, None]), None


def packed_sequences(batch: Batch) -> Any:
    """The documents of a micro-batch as megatron-core's `PackedSeqParams`, rows one after another.

    For Transformer Engine only. Written against megatron-core 0.16.1's interface; never run, since
    no machine with a GPU and Transformer Engine was at hand.
    """
    from megatron.core.packed_seq_params import PackedSeqParams

    starts = torch.nonzero(batch.positions.flatten() == 0).flatten()
    end = torch.tensor([batch.positions.numel()], device=starts.device)
    ends = torch.cat((starts, end)).to(torch.int32)
    longest = int((ends[1:] - ends[:-1]).max())
    return PackedSeqParams(
        qkv_format="thd",
        cu_seqlens_q=ends,
        cu_seqlens_kv=ends,
        max_seqlen_q=longest,
        max_seqlen_kv=longest,
    )
