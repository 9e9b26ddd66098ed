"""The training loop: one update after the other, until the end, a signal, or a fault."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spire_dsu.config import write_resolved
from spire_dsu.errors import SpireError
from spire_dsu.files import write_atomically
from spire_dsu.locking import lock_folder, remove_folder
from spire_dsu.storage import DISK
from spire_training.cpt import checkpoint
from spire_training.cpt.config import CptConfig, check_tokenizer, run_facts
from spire_training.cpt.export import export
from spire_training.cpt.logs import Log, is_spike, losses, open_log, recent
from spire_training.cpt.parallel import any_process, is_first, process_groups
from spire_training.cpt.trainer import Trainer
from spire_training.data.packed import PackedRows


class TrainingError(SpireError):
    """The loss or the gradient went bad; the last good checkpoint is as it was."""


def train(config: CptConfig, store: Any = None) -> bool:
    """Trains until the end, or goes on with a run that was interrupted.

    Every process of a run calls it. OUT/hf is the product; while it is missing the run is
    unfinished.

    Args:
        config: the run's.
        store: where the processes meet, instead of torchrun's address.

    Returns:
        Whether the run is finished; False after SIGTERM, with a checkpoint of where it stood.

    Raises:
        TrainingError: the loss went bad.
        SpireError: data, model or settings cannot be used; nothing was written.
    """
    if (config.out / "hf").exists():
        return True
    rows, held = PackedRows(config.data), PackedRows(config.data, "held")
    check_tokenizer(config, rows.manifest)
    facts = run_facts(config)
    folder = config.out / "checkpoints"
    step = checkpoint.latest_step(folder, facts)
    with _alone_in(config.out), process_groups(config.parallel, store), _told_to_stop() as told:
        if is_first():
            rows.verify()
            held.verify()
        trainer = Trainer(config, rows, held, step)
        if step:
            checkpoint.load(folder, step, trainer.state)
        if is_first():
            config.out.mkdir(parents=True, exist_ok=True)
            write_resolved(config, config.out / "config.json")
        with contextlib.ExitStack() as stack:
            log = None
            if is_first():
                log = stack.enter_context(
                    open_log(config.out, step, trainer.steps, tensorboard=config.log.tensorboard)
                )
            return _run(trainer, step, folder, facts, log, told)


def _run(
    trainer: Trainer,
    step: int,
    folder: Path,
    facts: dict[str, Any],
    log: Log | None,
    told: threading.Event,
) -> bool:
    config = trainer.config
    history = recent(log.history if log else [], config.guard.window)
    before = deque(history, maxlen=config.guard.window)
    while step < trainer.steps:
        began = time.monotonic()
        totals, tokens = trainer.forward_backward(step)
        values = losses(totals, "loss_", "loss")
        loss, lr = values["loss"], trainer.lr
        spike = is_spike(loss, list(before), config.guard.spike, config.guard.window)
        if any_process(spike) or not math.isfinite(loss):
            _stop(trainer, step + 1, f"the loss is {loss:.6g}")
        norm = trainer.update()
        if not math.isfinite(norm):
            _stop(trainer, step + 1, f"the norm of the gradient is {norm}")
        step += 1
        before.append(loss)
        line = {
            "step": step,
            "sequences": step * config.batch.sequences,
            **values,
            "grad_norm": norm,
            "lr": lr,
            "tokens": tokens,
            "tokens_per_second": tokens / (time.monotonic() - began),
        }
        every = config.log.held_every
        if every and (step % every == 0 or step == trainer.steps):
            totals = trainer.evaluate()
            if totals is not None:
                line |= losses(totals, "held_", "held_loss")
        if log:
            log.line(line)
        stopping = any_process(told.is_set())
        if stopping or step % config.checkpoint.every == 0 or step == trainer.steps:
            if not trainer.is_finite():  # before it becomes the state to go on from
                _stop(trainer, step, "a weight is not a number")
            checkpoint.save(folder, step, trainer.state, facts, config.checkpoint.keep)
        if stopping and step < trainer.steps:
            return False
    export(trainer.built, config.model, config.out / "hf")
    return True


def _stop(trainer: Trainer, update: int, reason: str) -> None:
    """Records what was being learned when it went bad, and ends the run."""
    report = {
        "step": update,
        "reason": reason,
        "rows": trainer.row_ids(update - 1),
        "data": str(trainer.config.data),
    }
    path = trainer.config.out / "stopped.json"
    if is_first():
        write_atomically(path, json.dumps(report, indent=1).encode())
    raise TrainingError(
        f"{trainer.config.out}: stopped at update {update}: {reason}; its rows are "
        f"in {path}, and the last checkpoint is as it was"
    )


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keeps a second run out of the folder; the first process does it for all."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    folder = out / ".tmp" / "run"
    lock = lock_folder(folder, DISK)
    try:
        yield
        remove_folder(folder, lock, DISK)
    finally:
        os.close(lock)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """SIGTERM sets the event instead of ending the process."""
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
