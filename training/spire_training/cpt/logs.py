"""What a run tells: a line per update in OUT/log.csv, TensorBoard, and the screen."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.files import write_atomically
from spire_training.data.packed import KINDS

COLUMNS = (
    "step",
    "sequences",
    "loss",
    *(f"loss_{kind}" for kind in KINDS[1:]),
    "grad_norm",
    "lr",
    "tokens",
    "tokens_per_second",
    "held_loss",
    *(f"held_{kind}" for kind in KINDS[1:]),
)
"""Of OUT/log.csv. `tokens` are those of the update without padding; a kind that no prediction of
the update is of has no loss."""


def losses(totals: Any, prefix: str, whole: str) -> dict[str, float]:
    """Mean losses, over all predictions and by kind.

    Args:
        totals: float64 [2, kinds]: sums and numbers.
        prefix: what stands before a kind's name.
        whole: the name of the mean over all.
    """
    sums, counts = totals
    out = {whole: float(sums.sum() / max(counts.sum(), 1))}
    for kind, name in enumerate(KINDS):
        if kind and counts[kind]:
            out[f"{prefix}{name}"] = float(sums[kind] / counts[kind])
    return out


class Log:
    """Writes the record of a run; one process has it, the others have none.

    Args:
        out: the run's folder.
        step: updates done before this start; what an interrupted start logged beyond is dropped.
        steps: updates of the whole run.
        tensorboard: also write OUT/tensorboard.
    """

    def __init__(self, out: Path, step: int, steps: int, *, tensorboard: bool) -> None:
        self._path = out / "log.csv"
        self._steps, self._began, self._first = steps, time.monotonic(), step
        self._shown = 0.0
        self.history = [row for row in read_log(self._path) if int(row["step"]) <= step]
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(self.history)
        write_atomically(self._path, text.getvalue().encode())
        self._file = self._path.open("a", newline="")
        self._csv = csv.DictWriter(self._file, COLUMNS)
        self._board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def line(self, values: Mapping[str, float]) -> None:
        """Records one update; names are of `COLUMNS`."""
        self._csv.writerow(values)
        self._file.flush()
        step = int(values["step"])
        if self._board is not None:
            for name, value in values.items():
                if name not in ("step", "sequences"):
                    self._board.add_scalar(name.replace("_", "/", 1), value, step)
        now = time.monotonic()
        if now - self._shown > 5 or step == self._steps:
            self._shown = now
            self._show(step, values, now)

    def _show(self, step: int, values: Mapping[str, float], now: float) -> None:
        left = (now - self._began) / (step - self._first) * (self._steps - step)
        hours, seconds = divmod(round(left), 3600)
        sys.stderr.write(
            f"update {step}/{self._steps}  loss {values['loss']:.4f}  lr {values['lr']:.2e}  "
            f"{values['tokens_per_second']:,.0f} tokens/s  "
            f"{hours}:{seconds // 60:02d}:{seconds % 60:02d} left\n"
        )

    def close(self) -> None:
        """Flushes and closes."""
        self._file.close()
        if self._board is not None:
            self._board.close()


@contextmanager
def open_log(out: Path, step: int, steps: int, *, tensorboard: bool) -> Iterator[Log]:
    """A `Log` that is closed at the end of the block."""
    log = Log(out, step, steps, tensorboard=tensorboard)
    try:
        yield log
    finally:
        log.close()


def read_log(path: Path) -> list[dict[str, str]]:
    """The updates of an OUT/log.csv, as text by column; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    # A line that a kill cut short has no value in its last columns, or no line end; the update it
    # was of is done again anyway, as its checkpoint comes after its line.
    return [row for row in rows if row["step"] and row["step"].isdigit()]


def recent(history: list[dict[str, str]], window: int) -> list[float]:
    """The losses of the last `window` updates."""
    return [float(row["loss"]) for row in history[-window:]]


def is_spike(loss: float, before: list[float], factor: float, window: int) -> bool:
    """Whether a loss stands out from those before it: above `factor` times their median."""
    return bool(factor and len(before) >= window and loss > factor * np.median(before))
