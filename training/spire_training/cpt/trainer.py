"""A model with its data, optimizer and schedule: one update at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from megatron.core import parallel_state as state
from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from megatron.core.pipeline_parallel.schedules import get_forward_backward_func
from megatron.core.transformer.module import Float16Module
from torch import Tensor

from spire_training.cpt import checkpoint
from spire_training.cpt.config import CptConfig
from spire_training.cpt.data import Batch, RowOrder, make_batch, numbers_of_rank
from spire_training.cpt.loss import over_all, weighted
from spire_training.cpt.model import Built, build
from spire_training.cpt.parallel import any_process, device
from spire_training.data.packed import PackedRows


class Trainer:
    """A model with its data and its optimizer, one update at a time.

    Args:
        config: the run's.
        rows: the training rows.
        held: held-out rows.
        step: updates done in earlier starts; weights are read from the base model only for 0.
    """

    def __init__(self, config: CptConfig, rows: PackedRows, held: PackedRows, step: int) -> None:
        self.config, self.rows, self.held = config, rows, held
        self.steps = config.num_steps(len(rows))
        self.accumulation = config.accumulation(state.get_data_parallel_world_size())
        num_tokens = int(rows.manifest["vocabulary"]["num_tokens"])
        self.built = build(config, num_tokens, rows.sequence_length, load=step == 0)
        self._order = RowOrder(config.seed, len(rows))
        self._wrap()
        self._schedule()

    def _wrap(self) -> None:
        config, megatron = self.config, self.built.config
        model: Any = self.built.model
        if megatron.bf16:
            model = Float16Module(megatron, model)
        distributed = config.parallel.distributed_optimizer
        self.model = DistributedDataParallel(
            megatron,
            DistributedDataParallelConfig(
                grad_reduce_in_fp32=True, use_distributed_optimizer=distributed
            ),
            model,
        )
        megatron.finalize_model_grads_func = finalize_model_grads
        chosen = config.optimizer
        self.optimizer = get_megatron_optimizer(
            OptimizerConfig(
                optimizer="adam",
                lr=chosen.lr,
                min_lr=chosen.min_lr,
                weight_decay=chosen.weight_decay,
                adam_beta1=chosen.beta1,
                adam_beta2=chosen.beta2,
                adam_eps=chosen.eps,
                clip_grad=chosen.clip,
                bf16=megatron.bf16,
                params_dtype=megatron.params_dtype,
                use_distributed_optimizer=distributed,
            ),
            [self.model],
        )

    def _schedule(self) -> None:
        chosen, batch = self.config.optimizer, self.config.batch.sequences
        self.scheduler = OptimizerParamScheduler(
            self.optimizer,
            init_lr=0.0,
            max_lr=chosen.lr,
            min_lr=chosen.min_lr,
            lr_warmup_steps=min(chosen.warmup_steps, self.steps - 1) * batch,
            lr_decay_steps=self.steps * batch,
            lr_decay_style="cosine",
            start_wd=chosen.weight_decay,
            end_wd=chosen.weight_decay,
            wd_incr_steps=0,
            wd_incr_style="constant",
        )

    @property
    def state(self) -> checkpoint.State:
        """What a checkpoint holds."""
        return checkpoint.State(self.built, self.optimizer, self.scheduler)

    def row_ids(self, step: int) -> list[int]:
        """The rows of the update after `step` updates, of all processes."""
        batch = self.config.batch.sequences
        return self._order.rows(step * batch, batch)

    def forward_backward(self, step: int) -> tuple[Any, int]:
        """Gradients of the update after `step` updates.

        Returns:
            Sums and numbers of losses by kind, over all processes, and tokens without padding.
        """
        batch, micro = self.config.batch.sequences, self.config.batch.micro
        self.model.zero_grad_buffer()
        self.optimizer.zero_grad()
        real = [0]
        rank, ranks = state.get_data_parallel_rank(), state.get_data_parallel_world_size()
        numbers = numbers_of_rank(step * batch, batch, micro, rank, ranks)
        batches = self._counted(
            (self._batch(self.rows, [self._order.row(n) for n in some]) for some in numbers), real
        )
        totals = self._run(batches, self.accumulation, forward_only=False)
        tokens = torch.tensor(real, device=device())
        torch.distributed.all_reduce(tokens, group=state.get_data_parallel_group())
        return totals, int(tokens.item())

    def update(self) -> float:
        """Clips the gradients and takes a step; returns their norm before the clipping."""
        _, norm, _ = self.optimizer.step()
        self.scheduler.step(increment=self.config.batch.sequences)
        return float(norm)

    def is_finite(self) -> bool:
        """Whether every weight is a number, in all processes."""
        bad = [~p.isfinite().all() for p in self.built.model.parameters()]
        return not any_process(bool(torch.stack(bad).any()))

    @property
    def lr(self) -> float:
        """The rate that the next update takes."""
        return float(self.scheduler.get_lr({}))

    def evaluate(self) -> Any:
        """Sums and numbers of losses by kind on the first held-out rows."""
        micro, ranks = self.config.batch.micro, state.get_data_parallel_world_size()
        count = min(len(self.held), self.config.log.held_rows) // (micro * ranks)
        if not count:
            return None
        rank = state.get_data_parallel_rank()
        numbers = numbers_of_rank(0, count * micro * ranks, micro, rank, ranks)
        self.model.eval()
        with torch.no_grad():
            totals = self._run(
                (self._batch(self.held, list(some)) for some in numbers), count, forward_only=True
            )
        self.model.train()
        return totals

    def _run(self, batches: Iterator[Batch], count: int, *, forward_only: bool) -> Any:
        records = get_forward_backward_func()(
            forward_step_func=partial(_forward, self.built),
            data_iterator=batches,
            model=[self.model],
            num_microbatches=count,
            seq_length=self.rows.sequence_length,
            micro_batch_size=self.config.batch.micro,
            forward_only=forward_only,
        )
        return over_all(records, device())

    def _batch(self, rows: PackedRows, which: list[int]) -> Batch:
        return make_batch(rows, which, learn_units=self.config.learn_units, device=device())

    @staticmethod
    def _counted(batches: Iterator[Batch], real: list[int]) -> Iterator[Batch]:
        for batch in batches:
            real[0] += batch.real
            yield batch


def _forward(built: Built, batches: Iterator[Batch], model: Any) -> tuple[Tensor, Any]:
    batch = next(batches)
    return built.losses(model, batch), partial(weighted, batch=batch)
