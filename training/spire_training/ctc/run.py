"""A run from manifests to a model and its hypotheses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jiwer
import torch
from transformers import HubertModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from spire_dsu.config import write_resolved
from spire_dsu.errors import ConfigError
from spire_dsu.features import Encoder
from spire_training.ctc.corpus import Characters, Corpus, Waves, collate
from spire_training.ctc.frozen import Frozen
from spire_training.ctc.model import CTCModel
from spire_training.ctc.settings import CTCConfig
from spire_training.ctc.transcribe import (
    CONFIG,
    CTCFolder,
    Source,
    save,
    source_of,
    write_hypotheses,
)
from spire_training.it import checkpoints
from spire_training.it.tables import LossTable, SpikeGuard, TrainingStoppedError

FREE_TO_CHANGE = frozenset({"micro_batch", "keep", "workers", "out", "test", "train", "dev"})


def train_ctc(config: CTCConfig) -> Path:
    """Trains the baseline, or goes on where a killed run of the same kind stopped.

    Writes OUT/train.csv, OUT/dev.csv, OUT/tensorboard, OUT/checkpoint-N, the best model by
    character error rate as OUT/model, and OUT/hyps/NAME.jsonl for each manifest of `test`.

    Args:
        config: the run.

    Returns:
        OUT/model.

    Raises:
        SpireError: manifests, encoder and configuration do not fit each other, or the folder
            belongs to another run; `TrainingStoppedError` where the loss is no number.
    """
    out = Path(config.out)
    first = int(os.environ.get("RANK", "0")) == 0
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if not (out / "model" / CONFIG).is_file():
        _train(config, first)
    if first:
        write_hypotheses(out / "model", config, out / "hyps")
    return out / "model"


def _train(config: CTCConfig, first: bool) -> None:
    out = Path(config.out)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if config.batch % (config.micro_batch * processes):
        raise ConfigError(
            f"batch {config.batch} is no multiple of micro_batch {config.micro_batch} x "
            f"{processes} processes"
        )
    if config.frozen_encoder and processes > 1:
        raise ConfigError(f"frozen_encoder is for one process, and there are {processes}")
    source = source_of(config)
    train, dev = Corpus(config.train, config), Corpus(config.dev, config)
    characters = Characters.of(train.texts)
    if first:
        checkpoints.claim(out, _identity(config, source, train, dev))
        write_resolved(config, out / "config.json")
        _say(f"train: {dict(train.counts)}; dev: {dict(dev.counts)}; {len(characters)} tokens")
    resume = checkpoints.last(out)
    data, model, about = _parts(config, source, characters, train, dev)
    trainer = CTCTrainer(config, model, data, characters, dev.texts, processes, first)
    with trainer.tables(resume.step if resume else 0):
        trainer.train(resume_from_checkpoint=str(resume.folder) if resume else None)
    if first:
        save(trainer.accelerator.unwrap_model(trainer.model), about, out / "model")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _parts(
    config: CTCConfig, source: Source, characters: Characters, train: Corpus, dev: Corpus
) -> tuple[list[Any], CTCModel, CTCFolder]:
    """Data sets for training and evaluation, the model, and what its folder will say."""
    out = Path(config.out)
    encoder: Any = None
    if config.frozen_encoder:
        maker = Encoder.from_pretrained(
            source.folder, layer=source.layer, normalize_eps=source.eps, device=config.device
        )
        width = maker.dim
        data: list[Any] = [
            Frozen(corpus, characters, maker, out / "features" / name)
            for name, corpus in (("train", train), ("dev", dev))
        ]
    else:
        skipped = out / "skipped.jsonl"
        data = [Waves(corpus, characters, source.eps, skipped) for corpus in (train, dev)]
        encoder = HubertModel.from_pretrained(source.folder, dtype=torch.float32)
        width = encoder.config.hidden_size
        if config.freeze_extractor:
            encoder.feature_extractor.requires_grad_(False)
    torch.manual_seed(config.seed)
    about = CTCFolder(
        characters=characters.known,
        width=width,
        hidden_size=config.hidden_size or width,
        hidden_layers=config.hidden_layers,
        frozen=str(source.folder.absolute()) if config.frozen_encoder else "",
        layer=source.layer if config.frozen_encoder else 0,
        normalize_eps=source.eps,
    )
    model = CTCModel(
        encoder,
        width=width,
        hidden_size=about.hidden_size,
        hidden_layers=about.hidden_layers,
        dropout=config.dropout,
        tokens=len(characters),
    )
    return data, model, about


def _identity(config: CTCConfig, source: Source, train: Corpus, dev: Corpus) -> dict[str, Any]:
    settings = {
        key: value
        for key, value in config.model_dump(mode="json").items()
        if key not in FREE_TO_CHANGE | {"encoder"}
    }
    return {
        **settings,
        "encoder": checkpoints.digests_of(source.folder),
        "train": train.digest(),
        "dev": dev.digest(),
    }


class CTCTrainer(Trainer):
    """transformers' Trainer with the character error rate, tables and whole checkpoints.

    Args:
        config: the run.
        model: to train.
        data: for training and for evaluation.
        characters: of the output.
        references: texts of the evaluation, in order.
        processes: that train.
        first: whether this is the process that writes.
    """

    def __init__(
        self,
        config: CTCConfig,
        model: CTCModel,
        data: list[Any],
        characters: Characters,
        references: list[str],
        processes: int,
        first: bool,
    ) -> None:
        self._config, self._first = config, first
        self._characters, self._references = characters, references
        self._guard = SpikeGuard(0.0, 1, [])
        super().__init__(
            model=model,
            args=_arguments(config, processes),
            train_dataset=data[0],
            eval_dataset=data[1],
            data_collator=collate,
            compute_metrics=self._error_rate,
            preprocess_logits_for_metrics=lambda logits, _: logits.argmax(-1),
            callbacks=[_Sealer(Path(config.out), config.keep, first)],
        )
        self.remove_callback(PrinterCallback)

    @contextmanager
    def tables(self, after: int) -> Iterator[None]:
        """Keeps the tables open, of a run that goes on from a step."""
        if not self._first:
            yield
            return
        out = Path(self._config.out)
        board = out / "tensorboard"
        columns = ["step", "epoch", "loss", "learning_rate", "grad_norm"]
        self._losses = LossTable(out / "train.csv", columns, after, board)
        self._dev = LossTable(out / "dev.csv", ["step", "epoch", "loss", "cer"], after, board)
        try:
            yield
        finally:
            self._losses.close()
            self._dev.close()

    def log(self, logs: dict[str, float], *_: Any) -> None:
        """Writes down the loss of a step, or an evaluation.

        Raises:
            TrainingStoppedError: the loss or the gradient is no number.
        """
        step, epoch = self.state.global_step, self.state.epoch
        row: dict[str, Any] = {"step": step, "epoch": round(float(epoch or 0), 4)}
        if "loss" in logs:
            fault = self._guard.fault(logs["loss"], logs["grad_norm"])
            if fault:
                raise TrainingStoppedError(
                    f"step {step}: {fault}; the last checkpoint is from before it"
                )
            if self._first:
                self._losses.add({**row, **logs})
        elif "eval_cer" in logs and self._first:
            self._dev.add({**row, "loss": logs["eval_loss"], "cer": logs["eval_cer"]})
            _say(
                f"step {step}/{self.state.max_steps}  dev loss {logs['eval_loss']:.4f}  "
                f"CER {logs['eval_cer']:.4f}"
            )

    def _error_rate(self, made: Any) -> dict[str, float]:
        hypotheses = [
            self._characters.decode([max(int(token), 0) for token in tokens])
            for tokens in made.predictions
        ]
        return {"cer": float(jiwer.cer(self._references, hypotheses))}


class _Sealer(TrainerCallback):
    """Declares checkpoints whole; the best one stays."""

    def __init__(self, out: Path, keep: int, first: bool) -> None:
        self._out, self._keep, self._first = out, keep, first

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The Trainer has written a checkpoint."""
        del control
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if self._first:
            folder = self._out / f"checkpoint-{state.global_step}"
            checkpoints.seal(folder, step=state.global_step, processes=args.world_size)
            checkpoints.prune(self._out, self._keep, state.best_model_checkpoint)


def _arguments(config: CTCConfig, processes: int) -> TrainingArguments:
    when: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    if config.eval_steps:
        when = {
            "eval_strategy": "steps",
            "save_strategy": "steps",
            "eval_steps": config.eval_steps,
            "save_steps": config.eval_steps,
        }
    return TrainingArguments(
        output_dir=config.out,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.micro_batch,
        per_device_eval_batch_size=config.micro_batch,
        gradient_accumulation_steps=config.batch // (config.micro_batch * processes),
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=config.warmup_ratio,
        optim="adamw_torch",
        bf16=config.precision == "bf16",
        use_cpu=config.device == "cpu" or not torch.cuda.is_available(),
        load_best_model_at_end=True,
        metric_for_best_model="cer",
        greater_is_better=False,
        label_names=["labels"],
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        seed=config.seed,
        dataloader_num_workers=config.workers,
        **when,
    )


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
