"""The loss per token, with the padding of the vocabulary outside of the softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spire_training.cpt.data import Batch

NUM_KINDS = 8
"""Kinds of tokens that marks can say (three bits)."""


_ROWS = 256
"""Predictions taken at a time: their logits in float32 then stay in a processor's cache."""


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy that keeps its softmax in the place of the logits, in their own dtype.

    Torch's own makes the logits in float32, their log-softmax and its gradient, each as large as
    the logits, which are the largest tensor of a small model by far.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, num_tokens: int) -> Tensor:
        losses = torch.empty(len(labels), dtype=torch.float32, device=logits.device)
        logits = logits.detach()
        for first in range(0, len(labels), _ROWS):
            some = slice(first, first + _ROWS)
            known = logits[some, :num_tokens].to(torch.float32, copy=True)
            known -= known.amax(dim=1, keepdim=True)
            right = known.gather(1, labels[some, None])
            total = known.exp_().sum(dim=1, keepdim=True)
            losses[some] = (total.log() - right)[:, 0]
            logits[some, :num_tokens] = known.div_(total)
        logits[:, num_tokens:] = 0
        ctx.save_for_backward(logits, labels)
        return losses

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None, None]:
        softmax, labels = ctx.saved_tensors
        minus_one = softmax.new_full((len(labels), 1), -1)
        softmax.scatter_add_(1, labels[:, None], minus_one)
        return softmax.mul_(grads[:, None].to(softmax.dtype)), None, None


def token_losses(logits: Tensor, labels: Tensor, num_tokens: int, tensor_parallel: int) -> Tensor:
    """Cross entropy of each prediction, over the tokens that the tokenizer knows.

    Args:
        logits: [L, B, V / tensor_parallel], this process' part of the vocabulary; overwritten.
        labels: int64 [L, B].
        num_tokens: rows of the vocabulary from here on are padding.
        tensor_parallel: how many processes share the vocabulary.

    Returns:
        float32 [L, B].
    """
    if tensor_parallel == 1:
        losses: Tensor = _CrossEntropy.apply(logits.flatten(0, 1), labels.flatten(), num_tokens)  # type: ignore[no-untyped-call]
        return losses.view_as(labels)
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    first = parallel_state.get_tensor_model_parallel_rank() * logits.shape[-1]
    if first + logits.shape[-1] > num_tokens:
        padding = torch.arange(first, first + logits.shape[-1], device=logits.device) >= num_tokens
        logits = logits.masked_fill(padding, torch.finfo(logits.dtype).min)
    shared = vocab_parallel_cross_entropy(logits, labels)
    assert isinstance(shared, Tensor)
    return shared


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
