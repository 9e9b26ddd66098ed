"""Attention that stays inside of a document, and positions that restart at its beginning.

On the local layers of megatron-core (CPU, or a GPU without Transformer Engine) a mask says which
token sees which, and the rotary angles follow each token's place in its own document. With
Transformer Engine the same is said by the lengths of the documents (`packed_sequences`), and no
mask of length x length is ever made.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spire_training.cpt.data import Batch


class LocalAttention(nn.Module):
    """Attention proper by torch, in the place of megatron-core's unfused one.

    Megatron-core's local attention makes the scores of all heads in memory three times over; torch
    walks over them in blocks. Same constructor and call as megatron-core's `DotProductAttention`.
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
        attention_mask: Tensor,
        **unused: Any,  # noqa: ARG002
    ) -> Tensor:
        """Query [L, B, heads, d], key and value [L, B, groups, d] -> [L, B, heads * d].

        Args:
            attention_mask: what is added to the scores, [B, 1, L, L], 0 or minus infinity.
        """
        length, rows, heads, _ = query.shape
        if heads != key.shape[2]:  # torch's fast path on a CPU wants a key for each query head
            key, value = (x.repeat_interleave(heads // x.shape[2], dim=2) for x in (key, value))
        out = functional.scaled_dot_product_attention(
            query.permute(1, 2, 0, 3),
            key.permute(1, 2, 0, 3),
            value.permute(1, 2, 0, 3),
            attn_mask=attention_mask,
            scale=self._scale,
        )
        return out.permute(2, 0, 1, 3).reshape(length, rows, -1)


class DocumentRotary(nn.Module):
    """Rotary angles by place in the document, in the place of megatron-core's by place in the row.

    Attributes:
        positions: int64 [B, L], set before each forward.
    """

    def __init__(self, inverse_frequencies: Tensor) -> None:
        super().__init__()
        self._inverse = inverse_frequencies
        self.positions = torch.zeros(1, 1, dtype=torch.int64)

    def get_rotary_seq_len(self, *unused: Any, **also_unused: Any) -> int:  # noqa: ARG002
        """Asked by the model before each forward; the positions already say it."""
        return self.positions.shape[1]

    def forward(self, length: int, **unused: Any) -> Tensor:  # noqa: ARG002
        """Angles [L, B, 1, d] in radians, each half of d the same, as rotate-half wants them."""
        angles = self.positions.T.float()[..., None] * self._inverse
        return torch.cat((angles, angles), dim=-1)[:, :, None, :]


def document_mask(documents: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores: 0 for earlier tokens of the same document, else -inf.

    Args:
        documents: int64 [B, L], the document of each token.
        dtype: that of the scores.

    Returns:
        [B, 1, L, L], row q says what token q sees.
    """
    length = documents.shape[1]
    same = documents[:, :, None] == documents[:, None, :]
    sees = same & torch.ones(length, length, dtype=torch.bool, device=same.device).tril()
    return torch.zeros(sees.shape, dtype=dtype, device=same.device).masked_fill_(
        ~sees, float("-inf")
    )[:, None]


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
