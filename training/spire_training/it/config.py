"""What an instruction-tuning run is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from spire_dsu.config import Config

FREE_TO_CHANGE = frozenset(
    {"micro_batch", "save_steps", "keep", "held_steps", "activation_checkpointing", "out"}
)
"""Keys that a resumed run may have otherwise: none of them changes what is learned from what."""


class ITConfig(Config):
    """Settings of `spire-dsu train it`; the defaults are the paper's (section 3.3.2).

    What the paper does not state is a choice of ours: Adam's betas and epsilon and the gradient
    clip are transformers' defaults, which the authors' Axolotl configuration left as they are.

    Attributes:
        model: Hugging Face folder to start from; its tokenizer knows ChatML.
        data: packed folder of the stage "it".
        out: folder to write; the model comes to OUT/hf.
        epochs: how often each row is seen.
        max_steps: the run, and its schedule, end after so many steps; 0 for all epochs.
        batch_rows: packed rows per optimizer step, over all processes and accumulation.
        micro_batch: rows that a process holds at once.
        sequence_length: tokens of a row; must be the data's.
        learning_rate: the highest, reached after `warmup_steps`; a cosine takes it to zero.
        max_grad_norm: gradients are clipped to this norm.
        precision: "bf16" computes in bfloat16 over float32 weights.
        attention: as transformers names it; both keep documents apart.
        activation_checkpointing: trades a second forward pass for memory.
        parallel: how several processes share the model.
        deepspeed: DeepSpeed's JSON file, for parallel = "deepspeed".
        save_steps: steps between checkpoints.
        keep: checkpoints that are kept.
        held_steps: steps between losses on held-out rows; 0 for the end alone.
        spike_factor: a loss so many times the median of the last `spike_window` stops the run;
            0 for never. A loss that is not finite always does.
        save_dtype: of the weights in OUT/hf.
    """

    model: str = Field(min_length=1)
    data: str = Field(min_length=1)
    out: str = Field(min_length=1)
    epochs: int = Field(default=4, ge=1)
    max_steps: int = Field(default=0, ge=0)
    batch_rows: int = Field(default=576, ge=1)
    micro_batch: int = Field(default=12, ge=1)
    sequence_length: int = Field(default=4096, ge=2)
    learning_rate: float = Field(default=7e-6, gt=0, lt=1)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    adam_epsilon: float = Field(default=1e-8, gt=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: Literal["bf16", "fp32"] = "bf16"
    attention: Literal["sdpa", "flash_attention_2"] = "sdpa"
    activation_checkpointing: bool = False
    parallel: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    deepspeed: str = ""
    seed: int = Field(default=42, ge=0, lt=2**32)
    save_steps: int = Field(default=500, ge=1)
    keep: int = Field(default=2, ge=1)
    held_steps: int = Field(default=0, ge=0)
    spike_factor: float = Field(default=4.0, ge=0)
    spike_window: int = Field(default=50, ge=1)
    device: Literal["auto", "cpu"] = "auto"
    save_dtype: Literal["bfloat16", "float32"] = "bfloat16"

    @model_validator(mode="after")
    def _deepspeed_has_its_file(self) -> ITConfig:
        if (self.parallel == "deepspeed") != bool(self.deepspeed):
            raise ValueError(
                f"parallel is {self.parallel!r} and deepspeed is {self.deepspeed!r}: "
                "DeepSpeed's JSON file goes with parallel = 'deepspeed', and with nothing else"
            )
        return self
