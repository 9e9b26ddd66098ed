"""What a run writes down of itself step by step, and when it must stop."""

from __future__ import annotations

import csv
import io
import math
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from spire_dsu.convert.progress import clock
from spire_dsu.errors import SpireError
from spire_dsu.files import write_atomically

LINE_SECONDS = 20.0


class TrainingStoppedError(SpireError):
    """The loss is one that no good run has; the last checkpoint is from before it."""


class LossTable:
    """A CSV file with a row per step, and TensorBoard's copy of it.

    Args:
        path: the file; rows of later steps than `after` are dropped, as they come again.
        columns: its columns, "step" first.
        after: the step that the run goes on from.
        board: a folder for TensorBoard; None for none.
    """

    def __init__(
        self, path: Path, columns: list[str], after: int, board: Path | None = None
    ) -> None:
        self.path, self._columns = path, columns
        self.rows = [row for row in read_table(path) if int(row["step"]) <= after]
        write_atomically(path, self._text([dict.fromkeys(columns, ""), *self.rows]))
        self._file = path.open("a", encoding="utf-8")
        self._board: Any = None
        if board is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(board), purge_step=after + 1)

    def add(self, row: dict[str, Any]) -> None:
        """Writes the row of a step; numbers in full, so that two runs compare exactly."""
        text = {name: _written(row.get(name, "")) for name in self._columns}
        self.rows.append(text)
        self._file.write(self._text([text]).decode())
        self._file.flush()
        if self._board is not None:
            for name, value in row.items():
                if name != "step" and value != "":
                    self._board.add_scalar(f"{self.path.stem}/{name}", value, row["step"])

    def close(self) -> None:
        """Closes both files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _text(self, rows: list[dict[str, str]]) -> bytes:
        out = io.StringIO()
        writer = csv.DictWriter(out, self._columns, lineterminator="\n")
        for row in rows:
            if any(row.values()):
                writer.writerow(row)
            else:
                writer.writeheader()
        return out.getvalue().encode()


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file that were written in full; none where there is no file."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a kill may leave half a line
    return list(csv.DictReader(io.StringIO(whole)))


def _written(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


class SpikeGuard:
    """Says when a loss cannot be that of a run that learns.

    Args:
        factor: how many times the median of the last losses is a spike; 0 for no such limit.
        window: how many losses; fewer than these, and there is no median yet.
        before: losses of the steps before, if the run goes on.
    """

    def __init__(self, factor: float, window: int, before: list[float]) -> None:
        self._factor = factor
        self._last: deque[float] = deque(before[-window:], maxlen=window)

    def fault(self, loss: float, grad_norm: float) -> str | None:
        """What is wrong with a step, None if nothing; a good loss is remembered."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(grad_norm):
            return f"the gradient's norm is {grad_norm}"
        if self._factor and len(self._last) == self._last.maxlen:
            usual = statistics.median(self._last)
            if loss > self._factor * usual:
                return f"the loss is {loss:.4g}, and {usual:.4g} was the median before"
        self._last.append(loss)
        return None


class Progress:
    """A line on standard error now and then: the loss, tokens per second, the time left."""

    def __init__(self, steps: int, after: int) -> None:
        self._steps, self._after = steps, after
        self._started = time.monotonic()
        self._shown = -math.inf
        self._tokens = 0

    def show(self, step: int, loss: float, tokens: int) -> None:
        """A step is done; `tokens` without padding."""
        now, self._tokens = time.monotonic(), self._tokens + tokens
        if now - self._shown < LINE_SECONDS and step != self._steps:
            return
        self._shown = now
        spent = max(now - self._started, 1e-9)
        left = spent / (step - self._after) * (self._steps - step)
        sys.stderr.write(
            f"step {step}/{self._steps}  loss {loss:.4f}  "
            f"{self._tokens / spent:,.0f} tokens/s  {clock(left)} left\n"
        )
