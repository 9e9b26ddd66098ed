"""A run from its configuration to the tuned model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from spire_dsu.config import write_resolved
from spire_dsu.errors import ConfigError
from spire_dsu.llm.rendering import TURN_END, TURN_START
from spire_dsu.llm.vocabulary import UnitVocabulary, VocabularyError
from spire_dsu.locking import lock_folder, remove_folder
from spire_dsu.storage import DISK
from spire_training.data.packed import KINDS as KIND_NAMES
from spire_training.data.packed import PackedRows
from spire_training.it import checkpoints
from spire_training.it.config import FREE_TO_CHANGE, ITConfig
from spire_training.it.export import write_model
from spire_training.it.rows import Schedule
from spire_training.it.trainer import PackedTrainer, arguments_of
from spire_training.it.watch import Watch

LEARNABLE = KIND_NAMES[1:]
HF = "hf"
"""The folder of the tuned model in the output folder."""


def train_it(config: ITConfig) -> Path:
    """Trains a model on packed instructions; goes on where a killed run of the same kind stopped.

    Writes OUT/config.json, OUT/train.csv (a row per step), OUT/held.csv, OUT/tensorboard/,
    OUT/checkpoint-N/ and, at the end, the model as OUT/hf/. Under torchrun, every process calls it.

    Args:
        config: the run.

    Returns:
        OUT/hf.

    Raises:
        SpireError: the data, the model and the configuration do not fit each other, or the folder
            belongs to another run; `TrainingStoppedError` where the loss is none.
    """
    out = Path(config.out)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    first = int(os.environ.get("RANK", "0")) == 0
    _check_machine(config, processes)
    rows, held, tokenizer = _inputs(config, verify=first)
    accumulation = _accumulation(config, processes)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with _locked(out) if first else nullcontext():
        if first:
            checkpoints.claim(out, _identity(config, rows))
            write_resolved(config, out / "config.json")
        if not (out / HF).is_dir():
            _train(config, processes, accumulation, rows, held, tokenizer)
    return out / HF


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keeps other runs out of the folder; a lock ends with its process, however that ends."""
    folder = out / "lock" / "it"
    lock = lock_folder(folder, DISK)
    try:
        yield
    finally:
        remove_folder(folder, lock, DISK)
        os.close(lock)


def _train(
    config: ITConfig,
    processes: int,
    accumulation: int,
    rows: PackedRows,
    held: PackedRows,
    tokenizer: Any,
) -> None:
    """From the last checkpoint, or the beginning, to the model."""
    out, first = Path(config.out), int(os.environ.get("RANK", "0")) == 0
    resume = checkpoints.last(out)
    _check_resume(config, resume, processes)
    schedule = Schedule(
        len(rows), epochs=config.epochs, seed=config.seed, batch_rows=config.batch_rows
    )
    steps = min(schedule.steps, config.max_steps or schedule.steps)
    arguments = arguments_of(config, steps=steps, accumulation=accumulation)
    model = AutoModelForCausalLM.from_pretrained(
        config.model, dtype=torch.float32, attn_implementation=config.attention
    )
    watch = Watch(config, schedule, first=first, steps=steps, after=resume.step if resume else 0)
    trainer = PackedTrainer(
        model,
        arguments,
        config,
        rows=rows,
        held=held,
        schedule=schedule,
        num_tokens=_num_tokens(tokenizer),
        length=rows.sequence_length,
        callbacks=[watch],
    )
    watch.trainer = trainer
    try:
        trainer.train(resume_from_checkpoint=str(resume.folder) if resume else None)
    finally:
        watch.close()
    write_model(trainer, tokenizer, out / HF, config.save_dtype)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _check_machine(config: ITConfig, processes: int) -> None:
    if config.parallel == "ddp":
        return
    if config.device == "cpu" or not torch.accelerator.is_available():
        raise ConfigError(
            f"parallel = {config.parallel!r} needs GPUs: accelerate shards no model on CPUs; "
            "there, take 'ddp'"
        )
    if processes == 1:
        raise ConfigError(
            f"parallel = {config.parallel!r} needs several processes: start it under torchrun"
        )


def _inputs(config: ITConfig, *, verify: bool) -> tuple[PackedRows, PackedRows, Any]:
    """Data and tokenizer, each checked against the other."""
    rows, held = PackedRows(config.data, "train"), PackedRows(config.data, "held")
    if not len(rows):
        raise ConfigError(f"{config.data}: there is no row to train on")
    stage = rows.manifest["stage"]
    if stage != "it":
        raise ConfigError(f"{config.data} was packed for stage {stage!r}, not 'it'")
    if rows.sequence_length != config.sequence_length:
        raise ConfigError(
            f"{config.data} has rows of {rows.sequence_length} tokens, and sequence_length is "
            f"{config.sequence_length}"
        )
    if verify:
        rows.verify()
        held.verify()
    if not (Path(config.model) / "config.json").is_file():
        raise ConfigError(f"{config.model}: not a Hugging Face model folder: it has no config.json")
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    known = tokenizer.get_vocab()
    if not {TURN_START, TURN_END} <= known.keys():
        raise VocabularyError(f"{config.model}: no ChatML tokens {TURN_START} and {TURN_END}")
    tokens = _num_tokens(tokenizer)
    _check_vocabulary(config, rows.manifest["vocabulary"], tokenizer, tokens)
    table = AutoConfig.from_pretrained(config.model).vocab_size
    if table < tokens:
        raise VocabularyError(
            f"{config.model}: {tokens} tokens, but {table} rows in the model's tables"
        )
    return rows, held, tokenizer


def _check_vocabulary(
    config: ITConfig, packed: dict[str, Any], tokenizer: Any, tokens: int
) -> None:
    """Refuses data whose ids mean other tokens than the model's."""
    found = {"num_tokens": tokens}
    if packed["num_units"]:
        units = UnitVocabulary.of(tokenizer)
        found |= {"first_unit_token": units.first_unit_token, "num_units": units.num_units}
    for name, value in found.items():
        if packed[name] != value:
            raise VocabularyError(
                f"{config.data} was packed with {name} {packed[name]}, and for the tokenizer of "
                f"{config.model} it is {value}"
            )


def _num_tokens(tokenizer: Any) -> int:
    """Rows of the model's tables from here on are padding."""
    return int(max(tokenizer.get_vocab().values())) + 1


def _accumulation(config: ITConfig, processes: int) -> int:
    at_once = config.micro_batch * processes
    if config.batch_rows % at_once:
        raise ConfigError(
            f"batch_rows {config.batch_rows} is no multiple of micro_batch {config.micro_batch} "
            f"x {processes} processes"
        )
    return config.batch_rows // at_once


def _identity(config: ITConfig, rows: PackedRows) -> dict[str, Any]:
    """What decides what is learned."""
    settings = {
        key: value
        for key, value in config.model_dump(mode="json").items()
        if key not in FREE_TO_CHANGE | {"model", "data"}
    }
    files = {name: about["sha256"] for name, about in rows.manifest["files"].items()}
    return {**settings, "model": checkpoints.digests_of(Path(config.model)), "data": files}


def _check_resume(config: ITConfig, resume: checkpoints.Checkpoint | None, processes: int) -> None:
    if resume is None:
        return
    if config.parallel == "deepspeed" and resume.processes != processes:
        raise ConfigError(
            f"{resume.folder} was written by {resume.processes} processes of DeepSpeed, which "
            f"cannot go on with {processes}"
        )
