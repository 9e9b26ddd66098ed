"""The configuration of a continued pre-training, and what of it may not change at a resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, model_validator

from spire_dsu.config import Config
from spire_dsu.errors import ConfigError
from spire_dsu.files import sha256_of_file

_VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model")


class BatchConfig(Config):
    """How many sequences make one update of the weights.

    Attributes:
        sequences: the effective batch: packed rows per update, over all processes; the
            paper's is 2,304.
        micro: rows that one process takes through the model at once.
    """

    sequences: int = Field(default=2304, ge=1)
    micro: int = Field(default=1, ge=1)


class OptimizerConfig(Config):
    """AdamW and its schedule. The paper refers to Tower for these, and Tower states none of them.

    Attributes:
        lr: the highest learning rate, reached at the end of the warm-up.
        min_lr: where the cosine ends.
        warmup_steps: updates over which the rate rises linearly from 0.
        weight_decay: on matrices; norms are not decayed.
        clip: the largest norm of the gradient over all weights.
    """

    lr: float = Field(default=3e-5, gt=0)
    min_lr: float = Field(default=3e-6, ge=0)
    warmup_steps: int = Field(default=50, ge=0)
    weight_decay: float = Field(default=0.1, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    clip: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _ends_below(self) -> OptimizerConfig:
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr} is above lr {self.lr}")
        return self


class ParallelConfig(Config):
    """How the model is cut over processes; what is left of them is data parallel.

    Attributes:
        tensor: processes that share each matrix.
        pipeline: processes that share the layers.
        distributed_optimizer: each data-parallel process keeps only its part of the optimizer.
        vocabulary_multiple: the tables are padded to a multiple of this times `tensor`; the
            padding takes no part in the softmax and is not exported.
    """

    tensor: int = Field(default=1, ge=1)
    pipeline: int = Field(default=1, ge=1)
    distributed_optimizer: bool = False
    vocabulary_multiple: int = Field(default=64, ge=1)


class CheckpointConfig(Config):
    """When the state of a run is saved, and how many of the last states are kept."""

    every: int = Field(default=50, ge=1)
    keep: int = Field(default=2, ge=1)


class GuardConfig(Config):
    """When a run stops by itself, apart from a loss or a gradient that is not a number.

    Attributes:
        spike: stop when the loss exceeds this many times the median of the last `window` losses;
            0 never stops for that.
        window: how many losses the median is over; nothing is judged before there are so many.
    """

    spike: float = Field(default=3.0, ge=0)
    window: int = Field(default=20, ge=1)


class LogConfig(Config):
    """What is measured on the way.

    Attributes:
        held_every: updates between two measurements on held-out rows; 0 measures none.
        held_rows: how many held-out rows are measured, the first ones.
        tensorboard: also write OUT/tensorboard.
    """

    held_every: int = Field(default=50, ge=0)
    held_rows: int = Field(default=64, ge=1)
    tensorboard: bool = True


class CptConfig(Config):
    """A continued pre-training.

    Attributes:
        model: a Hugging Face folder of a Llama whose vocabulary has the units.
        data: a folder of packed rows, as `spire-dsu train prepare` writes it.
        out: the run's folder; its product is OUT/hf, a Hugging Face folder again.
        epochs: passes over the rows; an incomplete last batch is left out.
        steps: updates, instead of `epochs`; 0 goes by epochs.
        seed: decides the order of the rows.
        precision: "bf16" keeps the weights in bfloat16 with float32 copies in the optimizer and
            float32 gradients; "fp32" is for processors without fast bfloat16.
        attention: "local" is torch's attention with a mask per document; "te" is Transformer
            Engine's with packed sequences; "auto" takes the second on a GPU where it is installed.
        learn_units: whether units are learned too, or only text. The paper does not say.
    """

    model: Path
    data: Path
    out: Path
    epochs: int = Field(default=1, ge=1)
    steps: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    precision: Literal["bf16", "fp32"] = "bf16"
    attention: Literal["auto", "local", "te"] = "auto"
    learn_units: bool = True
    batch: BatchConfig = BatchConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    parallel: ParallelConfig = ParallelConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    guard: GuardConfig = GuardConfig()
    log: LogConfig = LogConfig()

    def num_steps(self, rows: int) -> int:
        """Updates of the whole run over `rows` packed rows.

        Raises:
            ConfigError: there are fewer rows than one batch has.
        """
        steps = self.steps or self.epochs * rows // self.batch.sequences
        if steps < 1:
            raise ConfigError(
                f"{self.data}: {self.epochs} epochs of {rows} rows are less than one batch of "
                f"{self.batch.sequences} sequences"
            )
        return steps

    def accumulation(self, data_parallel: int) -> int:
        """Micro-batches that each process takes per update.

        Raises:
            ConfigError: the effective batch cannot be divided so.
        """
        at_once = self.batch.micro * data_parallel
        if self.batch.sequences % at_once:
            raise ConfigError(
                f"batch.sequences {self.batch.sequences} is no multiple of batch.micro "
                f"{self.batch.micro} x {data_parallel} data-parallel processes"
            )
        return self.batch.sequences // at_once


def pieces(parallel: ParallelConfig, processes: int) -> int:
    """How many processes hold one copy of the model.

    Raises:
        ConfigError: `processes` is no multiple of that.
    """
    count = parallel.tensor * parallel.pipeline
    if processes % count:
        raise ConfigError(
            f"{processes} processes are no multiple of parallel.tensor {parallel.tensor} x "
            f"parallel.pipeline {parallel.pipeline}"
        )
    return count


def run_facts(config: CptConfig) -> dict[str, JsonValue]:
    """All that decides the weights a run ends with; a resume with other facts is refused.

    Paths, the division over processes, the micro-batch, logs and checkpoints are left out: they may
    change between two starts (and change the sums by float noise alone).

    Raises:
        ConfigError: the model or the data is not there.
    """
    facts: dict[str, JsonValue] = config.model_dump(
        mode="json",
        include={"epochs", "steps", "seed", "precision", "learn_units", "optimizer"},
    )
    facts["batch.sequences"] = config.batch.sequences
    for name, path in (
        ("model.config", config.model / "config.json"),
        ("data.manifest", config.data / "manifest.json"),
    ):
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        facts[name] = sha256_of_file(path)
    weights = sorted(config.model.glob("*.safetensors"))
    facts["model.weights"] = [[path.name, path.stat().st_size] for path in weights]
    return facts


def check_tokenizer(config: CptConfig, manifest: Mapping[str, Any]) -> None:
    """Refuses a model whose tokenizer is not the one that the data was made with.

    Args:
        config: the run's.
        manifest: of the packed folder, which has the digests of its tokenizer's files.

    Raises:
        ConfigError: a file of the vocabulary differs.
    """
    for name, digest in manifest.get("tokenizer", {}).items():
        path = config.model / name
        if name in _VOCABULARY_FILES and path.is_file() and sha256_of_file(path) != digest:
            raise ConfigError(f"{path} is not the {name} that {config.data} was made with")
