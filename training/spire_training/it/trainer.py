"""transformers' Trainer, fed with packed rows.

Not TRL's SFTTrainer: what that adds to the Trainer is templates, answer masks and packing, and
`spire-dsu train prepare` has done all three by the time a row is read, for both stages alike. Its
loss would have to be replaced for the padding rows of the vocabulary, and then it runs the model
twice per batch (trl 1.16, `SFTTrainer.compute_loss` with a `compute_loss_func`). The Trainer's
checkpoints, FSDP, DeepSpeed and gradient accumulation are used as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from transformers import PrinterCallback, Trainer, TrainingArguments

from spire_training.it.config import ITConfig
from spire_training.it.loss import KINDS, by_kind, token_losses
from spire_training.it.rows import BLANK, Collator, RankBatches, Rows, RowSet, Schedule


class PackedTrainer(Trainer):
    """Trains on a schedule of packed rows.

    Args:
        model: a causal language model, float32 weights.
        arguments: of transformers; see `arguments_of`.
        config: the run.
        rows: to learn from.
        held: held-out rows; may be empty.
        schedule: which rows make a step.
        num_tokens: tokens that the tokenizer knows.
        length: tokens of a row.

    Attributes:
        tally: float64 [2, KINDS], sums of losses and counts of tokens of this step, this process.
        tokens: tokens of this step and process without padding.
        grad_norm: of this step, before clipping.
    """

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        config: ITConfig,
        *,
        rows: Rows,
        held: Rows,
        schedule: Schedule,
        num_tokens: int,
        length: int,
        callbacks: list[Any],
    ) -> None:
        self._config, self._rows, self._held = config, rows, held
        self._schedule, self._num_tokens = schedule, num_tokens
        self.grad_norm = 0.0
        self._collate = Collator(length)
        self.start_step()
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=RowSet(rows),
            data_collator=self._collate,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        # The loss below is a sum over learned tokens, divided by those of all processes.
        self.model_accepts_loss_kwargs = True

    def start_step(self) -> None:
        """Empties what is counted over a step."""
        self.tally = torch.zeros(2, KINDS, dtype=torch.float64)
        self.tokens = 0

    def step_tally(self) -> tuple[torch.Tensor, int]:
        """Losses and counts of this step over all processes, and its tokens."""
        both = torch.cat([self.tally.flatten(), torch.tensor([float(self.tokens)]).double()])
        both = self._summed(both)
        return both[:-1].reshape(2, KINDS), int(both[-1])

    def rate(self) -> float:
        """The learning rate of this step."""
        assert self.optimizer is not None, "a step has an optimizer"
        return float(self.optimizer.param_groups[0]["lr"])

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """This process's micro-batches, in the schedule's order; on resuming, the Trainer skips
        those that are done without reading them."""
        return torch.utils.data.DataLoader(
            RowSet(self._rows),
            batch_sampler=RankBatches(
                self._schedule,
                steps=self.args.max_steps,
                micro_batch=self._config.micro_batch,
                rank=self.args.process_index,
                processes=self.args.world_size,
            ),
            collate_fn=self._collate,
        )

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The sum of this batch's losses over the count of the whole step's learned tokens."""
        assert not return_outputs, "the Trainer's own evaluation is not used"
        losses_N, kinds_N = self._losses(model, inputs)
        self.tally += by_kind(losses_N, kinds_N).cpu()
        self.tokens += int((inputs["kinds"] != 0).sum())
        # Every process's gradient is divided by their number when they are averaged.
        share = self.accelerator.num_processes / max(float(num_items_in_batch), 1.0)
        return losses_N.sum() * share

    def held_losses(self) -> torch.Tensor:
        """float64 [2, KINDS], losses and counts over the held-out rows, all processes together."""
        model, size = self.model_wrapped, self._config.micro_batch
        was_training = model.training
        model.eval()
        tally = torch.zeros(2, KINDS, dtype=torch.float64)
        rank, processes = self.args.process_index, self.args.world_size
        dataset = RowSet(self._held)
        with torch.no_grad(), self.compute_loss_context_manager():
            for first in range(0, len(dataset), size * processes):
                # Processes share the weights, so each takes as many batches as the others.
                places = range(first + rank * size, first + (rank + 1) * size)
                chosen = [place if place < len(dataset) else BLANK for place in places]
                batch = self._prepare_inputs(self._collate([dataset[i] for i in chosen]))
                tally += by_kind(*self._losses(model, batch)).cpu()
        model.train(was_training)
        return self._summed(tally)

    def _losses(self, model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        flatten = self._config.attention == "flash_attention_2"
        return token_losses(model, batch, self._num_tokens, flatten=flatten)

    def _summed(self, values: torch.Tensor) -> torch.Tensor:
        if self.args.world_size == 1:
            return values
        values = values.to(self.args.device)
        distributed.all_reduce(values)
        return values.cpu()

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        self.grad_norm = float(norm)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Nothing: `Watch` writes down more than the Trainer knows."""


def arguments_of(config: ITConfig, *, steps: int, accumulation: int) -> TrainingArguments:
    """What transformers calls the settings of a run.

    Args:
        config: the run.
        steps: of the whole run.
        accumulation: micro-batches per step and process.
    """
    fsdp = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "state_dict_type": "SHARDED_STATE_DICT",
        "activation_checkpointing": config.activation_checkpointing,
    }
    sharded: Any = config.parallel == "fsdp"  # transformers 5 wants True, and its type a string
    return TrainingArguments(
        output_dir=config.out,
        max_steps=steps,
        per_device_train_batch_size=config.micro_batch,
        gradient_accumulation_steps=accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_steps,
        optim="adamw_torch",
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        max_grad_norm=config.max_grad_norm,
        bf16=config.precision == "bf16",
        use_cpu=config.device == "cpu" or not torch.cuda.is_available(),
        activation_checkpointing=config.activation_checkpointing and not sharded,
        fsdp=sharded or None,
        fsdp_config=fsdp if sharded else None,
        ddp_find_unused_parameters=False,
        deepspeed=config.deepspeed or None,
        save_strategy="steps",
        save_steps=config.save_steps,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        seed=config.seed,
        dataloader_num_workers=0,
    )
