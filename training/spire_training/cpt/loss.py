"""The loss per token, with the padding of the vocabulary outside of the softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spire_training.cpt.data import Batch

NUM_KINDS = 8
"""Kinds of tokens that marks can say (three bits)."""


def token_losses(logits: Tensor, labels: Tensor, num_tokens: int, tensor_parallel: int) -> Tensor:
    """Cross entropy of each prediction, over the tokens that the tokenizer knows.

    Args:
        logits: [L, B, V / tensor_parallel], this process' part of the vocabulary.
        labels: int64 [L, B].
        num_tokens: rows of the vocabulary from here on are padding.
        tensor_parallel: how many processes share the vocabulary.

    Returns:
        float32 [L, B].
    """
    if tensor_parallel == 1:
        known = logits[..., :num_tokens].flatten(0, 1)
        losses = functional.cross_entropy(known.float(), labels.flatten(), reduction="none")
        return losses.view_as(labels)
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    first = parallel_state.get_tensor_model_parallel_rank() * logits.shape[-1]
    if first + logits.shape[-1] > num_tokens:
        padding = torch.arange(first, first + logits.shape[-1], device=logits.device) >= num_tokens
        logits = logits.masked_fill(padding, torch.finfo(logits.dtype).min)
    losses = vocab_parallel_cross_entropy(logits, labels)
    assert isinstance(losses, Tensor)
    return losses


def weighted(losses: Tensor, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What megatron-core's schedules take: the sum, how many predictions counted, and a record.

    The sum is divided by the number over all micro-batches and processes, and only there, so that
    a token counts the same wherever it stands (`calculate_per_token_loss`).

    Args:
        losses: float32 [B, L].
        batch: the micro-batch they are of.

    Returns:
        Sum, number (int32), and "kinds": float64 [2, NUM_KINDS], sums and numbers by kind.
    """
    counted = losses.float() * batch.weights
    kinds = batch.kinds.flatten()
    record = torch.zeros(2, NUM_KINDS, dtype=torch.float64, device=losses.device)
    record[0].scatter_add_(0, kinds, counted.detach().flatten().double())
    record[1].scatter_add_(0, kinds, batch.weights.flatten().double())
    return counted.sum(), batch.weights.sum().to(torch.int32), {"kinds": record}


def over_all(records: list[dict[str, Tensor]], where: torch.device) -> Any:
    """Adds up the records of one update over micro-batches and processes.

    Args:
        records: one per micro-batch on the last pipeline stage, none on the others.
        where: the device of this process.

    Returns:
        numpy float64 [2, NUM_KINDS], the same in every process.
    """
    from megatron.core import parallel_state as state

    total = torch.zeros(2, NUM_KINDS, dtype=torch.float64, device=where)
    for record in records:
        total += record["kinds"]
    torch.distributed.all_reduce(total, group=state.get_data_parallel_group())
    last = state.get_pipeline_model_parallel_last_rank()
    torch.distributed.broadcast(total, src=last, group=state.get_pipeline_model_parallel_group())
    return total.cpu().numpy()
