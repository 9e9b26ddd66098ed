"""The loss of each learned token; the logits of all others are never computed."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from spire_training.it.rows import NOT_LEARNED, Batch

KINDS = 8
"""Marks have three bits for a token's kind."""


def token_losses(
    model: Any, batch: Batch, num_tokens: int, *, flatten: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log likelihood of each learned token of a batch.

    In instructions most tokens are units and prompts, which are not learned, and a row of logits is
    as wide as the vocabulary. So the output matrix is applied only where some row of the batch
    predicts a learned token. Rows of the matrix beyond the tokenizer's tokens are padding and take
    no part in the softmax.

    Args:
        model: a causal language model of transformers that takes `logits_to_keep`.
        batch: int64 tensors [B, L] of `Collator`.
        num_tokens: tokens that the tokenizer knows.
        flatten: gives the model the batch as one row [1, B*L], the form in which flash attention
            finds the borders of documents.

    Returns:
        float32 [N] losses and int64 [N] kinds of the learned tokens, in order. N is at least 1:
        a batch without learned tokens has one loss of 0, so that every process has a gradient.
    """
    if flatten:
        batch = {name: values.reshape(1, -1) for name, values in batch.items()}
    labels_BL = batch["labels"]
    learned_L = (labels_BL[:, 1:] != NOT_LEARNED).any(0)
    keep_P = learned_L.nonzero().squeeze(1)
    if keep_P.numel() == 0:
        keep_P = torch.zeros(1, dtype=torch.long, device=labels_BL.device)
    logits_BPV = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        # With a cache, transformers takes the positions as one growing text and attends across
        # documents.
        use_cache=False,
        logits_to_keep=keep_P,
    ).logits[..., :num_tokens]
    targets = labels_BL[:, keep_P + 1]
    counted = targets != NOT_LEARNED
    if not bool(counted.any()):
        return logits_BPV.float().sum().reshape(1) * 0.0, batch["kinds"].new_zeros(1)
    losses = functional.cross_entropy(
        logits_BPV[counted].float(), targets[counted], reduction="none"
    )
    return losses, batch["kinds"][:, keep_P + 1][counted]


def by_kind(losses_N: torch.Tensor, kinds_N: torch.Tensor) -> torch.Tensor:
    """Sums of losses and counts of tokens by kind.

    Returns:
        float64 [2, KINDS]: sums, counts. Padding, kind 0, is never learned and not counted.
    """
    tally = torch.zeros(2, KINDS, dtype=torch.float64, device=losses_N.device)
    tally[0].index_add_(0, kinds_N, losses_N.detach().double())
    tally[1].index_add_(0, kinds_N, torch.ones_like(losses_N, dtype=torch.float64))
    tally[:, 0] = 0
    return tally
