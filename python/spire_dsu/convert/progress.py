"""What a conversion shows: a bar on a terminal, lines elsewhere, and a table at the end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from spire_dsu.convert.job import Died, Done, Event, Tally, Waiting
from spire_dsu.convert.job import Progress as Advance
from spire_dsu.errors import Reason
from spire_dsu.types import SAMPLING_RATE

LINE_SECONDS = 30.0
SILENCE_SECONDS = 30.0
"""Without news for so long, it says what it waits for."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a conversion has come to.

    Attributes:
        folder: the output folder.
        finished: whether all shards of all parts are there, and so `manifest.json`.
        shards: of this part, committed; all of them unless something stopped the run.
        rows: in those shards.
        counts: those rows by status.
        samples: at 16 kHz, of the rows with units.
        frames, units, bytes: of those shards.
        new_rows: rows that this run made itself; the others were there.
        new_samples: at 16 kHz, of those with units.
        seconds: that this run took.
        examples: for each reason that this run met, one of its messages.
    """

    folder: Path
    finished: bool
    shards: int
    rows: int
    counts: dict[str, int]
    samples: int
    frames: int
    units: int
    bytes: int
    new_rows: int
    new_samples: int
    seconds: float
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def hours(self) -> float:
        """Hours of audio that have units."""
        return self.samples / SAMPLING_RATE / 3600

    @property
    def hours_per_hour(self) -> float:
        """Hours of audio that this run converted in an hour."""
        return self.new_samples / SAMPLING_RATE / max(self.seconds, 1e-9)

    @property
    def bad_share(self) -> float:
        """Share of the rows that have a reason instead of units."""
        return 1 - self.counts.get(str(Reason.OK), 0) / max(self.rows, 1)

    def table(self) -> Table:
        """For people."""
        title = f"{self.folder}: " + ("finished" if self.finished else "other parts are missing")
        table = Table("", "", title=Text(title), title_justify="left", show_header=False)
        seconds = max(self.samples / SAMPLING_RATE, 1e-9)
        table.add_row(
            "rows", f"{self.rows:,} in {self.shards:,} shards, {self.bytes / 1e6:,.1f} MB"
        )
        table.add_row("audio", f"{self.hours:,.2f} h")
        table.add_row("units", f"{self.units:,} ({self.units / seconds:.1f} per second)")
        made = f"{self.new_rows:,} rows in {clock(self.seconds)}"
        table.add_row("this run", f"{made}, {self.hours_per_hour:,.0f} h of audio per hour")
        for status, count in sorted(self.counts.items()):
            if status != Reason.OK:
                example = self.examples.get(status, "")
                text = f"{count:,}" + (f", as {example}" if example else "")
                table.add_row(status, Text(text))  # a path may look like rich's markup
        return table


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


class Display:
    """Shows events as they come; a context manager. Without a console, it only counts.

    Attributes:
        tally: the rows that this run has made and committed.
    """

    def __init__(self, console: Console | None) -> None:
        self.tally = Tally()
        self._console = console
        self._live: dict[int, Tally] = {}
        self._started = self._news = self._shown = time.monotonic()
        self._left = 0
        self._bar: Progress | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """A line of its own."""
        if self._console is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def reading(self, rows: int) -> None:
        """The manifest is being read."""
        if time.monotonic() - self._shown > LINE_SECONDS / 6:
            self._shown = time.monotonic()
            self.say(f"reading the manifest: {rows:,} rows")

    def begin(self, rows: int, done: int) -> None:
        """Starts to count: so many rows are to be made, so many were there already."""
        self._left = rows
        if done:
            self.say(f"{done:,} rows are there already, {rows:,} to go")
        self._started = self._news = self._shown = time.monotonic()
        if self._console is not None and self._console.is_terminal and rows:
            columns = (BarColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task("starting", total=rows)
            self._bar.start()

    def show(self, event: Event) -> None:
        """Takes in what has happened."""
        now = time.monotonic()
        if isinstance(event, Advance):
            self._live[event.worker] = event.tally
        elif isinstance(event, Done):
            self._live.pop(event.worker, None)
            self.tally = _add(self.tally, event.tally)
        elif isinstance(event, Died):
            self._live.pop(event.worker, None)
            self.say(f"a worker {event.text}; its shard is made again")
        if isinstance(event, Waiting):
            if now - max(self._news, self._shown) > SILENCE_SECONDS:
                self._shown = now
                shards = ", ".join(map(str, event.shards)) or "none yet"
                self.say(f"no row for {now - self._news:.0f} s; waiting for shards {shards}")
        else:
            self._news = now
        if self._bar is not None:
            current = self._current()
            self._bar.update(
                self._bar.task_ids[0], completed=current.rows, description=self._line()
            )
        elif now - self._shown > LINE_SECONDS:
            self._shown = now
            self.say(self._line())

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _current(self) -> Tally:
        total = self.tally
        for tally in self._live.values():
            total = _add(total, tally)
        return total

    def _line(self) -> str:
        tally = self._current()
        seconds = max(self.seconds, 1e-9)
        audio = tally.samples / SAMPLING_RATE
        left = (self._left - tally.rows) * seconds / tally.rows if tally.rows else 0.0
        bad = [f"{count:,} {name}" for name, count in sorted(tally.counts.items()) if name != "ok"]
        parts = [
            f"{tally.rows:,} of {self._left:,} rows",
            f"{audio / 3600:,.2f} h",
            f"{audio / seconds:,.0f} h/h",
            f"{clock(left)} left" if tally.rows else "",
            *bad,
        ]
        return ", ".join(part for part in parts if part)


def _add(one: Tally, other: Tally) -> Tally:
    return Tally(
        rows=one.rows + other.rows,
        samples=one.samples + other.samples,
        counts=dict(Counter(one.counts) + Counter(other.counts)),
        examples={**other.examples, **one.examples},
    )
