"""Writes down every step, declares checkpoints whole, and stops a run that goes wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from spire_dsu.files import write_atomically
from spire_training.data.packed import KINDS as KIND_NAMES
from spire_training.it import checkpoints
from spire_training.it.config import ITConfig
from spire_training.it.rows import Schedule
from spire_training.it.tables import (
    LossTable,
    Progress,
    SpikeGuard,
    TrainingStoppedError,
    read_table,
)

if TYPE_CHECKING:
    from spire_training.it.trainer import PackedTrainer

LEARNABLE = KIND_NAMES[1:]
STOPPED = "stopped.json"
"""Why the last try stopped; gone once the run goes on."""


class Watch(TrainerCallback):
    """Writes down every step, declares checkpoints whole, and stops a run that goes wrong.

    Attributes:
        trainer: set once it exists.
    """

    trainer: PackedTrainer

    def __init__(
        self, config: ITConfig, schedule: Schedule, *, first: bool, steps: int, after: int
    ) -> None:
        out = Path(config.out)
        self._config, self._schedule, self._first = config, schedule, first
        losses = [float(row["loss"]) for row in read_table(out / "train.csv")][:after]
        self._guard = SpikeGuard(config.spike_factor, config.spike_window, losses)
        self._loss, self._rate, self._began = 0.0, 0.0, time.monotonic()
        if not first:
            return
        by_kind = [f"{what}_{kind}" for kind in LEARNABLE for what in ("loss", "learned")]
        fixed = ["step", "epoch", "rows", "tokens", "learned", "loss", "learning_rate", "grad_norm"]
        board = out / "tensorboard"
        self._table = LossTable(
            out / "train.csv", [*fixed, *by_kind, "seconds", "tokens_per_second"], after, board
        )
        self._held = LossTable(
            out / "held.csv", ["step", "learned", "loss", *by_kind], after, board
        )
        self._progress = Progress(steps, after)
        checkpoints.prune(out, config.keep)
        (out / STOPPED).unlink(missing_ok=True)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Starts to count."""
        self.trainer.start_step()
        self._began = time.monotonic()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Looks at the loss before the weights follow it.

        Raises:
            TrainingStoppedError: it is no number, or a spike. All processes see the same sums.
        """
        (sums, counts), self._tokens = self.trainer.step_tally()
        self._sums, self._counts = sums.tolist(), counts.tolist()
        self._loss = sum(self._sums) / max(sum(self._counts), 1.0)
        self._rate = self.trainer.rate()
        step = self.trainer.state.global_step
        fault = self._guard.fault(self._loss, self.trainer.grad_norm)
        if fault is None:
            return
        path = Path(self._config.out) / STOPPED
        if self._first:
            facts = {
                "step": step + 1,
                "fault": fault,
                "loss": repr(self._loss),
                "grad_norm": repr(self.trainer.grad_norm),
                "rows": self._schedule.rows(step),
            }
            write_atomically(path, json.dumps(facts, indent=1).encode())
        raise TrainingStoppedError(
            f"step {step + 1}: {fault}; the rows of its batch are in {path}, and the last "
            "checkpoint is from before it"
        )

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Writes the step's row, and the held-out losses where they are due."""
        step = self.trainer.state.global_step
        if self._first:
            seconds = time.monotonic() - self._began
            self._table.add(
                {
                    "step": step,
                    "epoch": step * self._config.batch_rows // self._schedule.rows_per_epoch,
                    "rows": self._config.batch_rows,
                    "tokens": self._tokens,
                    "learned": int(sum(self._counts)),
                    "loss": self._loss,
                    "learning_rate": self._rate,
                    "grad_norm": self.trainer.grad_norm,
                    **_by_kind(self._sums, self._counts),
                    "seconds": seconds,
                    "tokens_per_second": self._tokens / seconds,
                }
            )
            self._progress.show(step, self._loss, self._tokens)
        every = self._config.held_steps
        if step == self.trainer.state.max_steps or (every and step % every == 0):
            sums, counts = self.trainer.held_losses().tolist()
            if self._first and sum(counts):
                loss = sum(sums) / sum(counts)
                row = {"step": step, "learned": int(sum(counts)), "loss": loss}
                self._held.add({**row, **_by_kind(sums, counts)})

    def on_save(self, *_: Any, **__: Any) -> None:
        """The Trainer has written a checkpoint: it counts from now on."""
        self.trainer.accelerator.wait_for_everyone()
        if self._first:
            out, step = Path(self._config.out), self.trainer.state.global_step
            checkpoints.seal(
                out / f"checkpoint-{step}",
                step=step,
                processes=self.trainer.args.world_size,
            )
            checkpoints.prune(out, self._config.keep)

    def close(self) -> None:
        """Closes the tables."""
        if self._first:
            self._table.close()
            self._held.close()


def _by_kind(sums: list[float], counts: list[float]) -> dict[str, Any]:
    """The columns of the kinds that have learned tokens."""
    row: dict[str, Any] = {}
    for number, kind in enumerate(LEARNABLE, start=1):
        if counts[number]:
            row[f"loss_{kind}"] = sums[number] / counts[number]
            row[f"learned_{kind}"] = int(counts[number])
    return row
