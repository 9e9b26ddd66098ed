"""What a conversion shows: a bar on a terminal, lines elsewhere, and a table at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
        new: the rows that this run made itself; the others were there.
        seconds: that this run took.
    """

    folder: Path
    finished: bool
    shards: int
    rows: int
    counts: Mapping[str, int]
    samples: int
    frames: int
    units: int
    bytes: int
    new: Tally
    seconds: float

    @property
    def hours(self) -> float:
        """Hours of audio that have units."""
        return self.samples / SAMPLING_RATE / 3600

    @property
    def hours_per_hour(self) -> float:
        """Hours of audio that this run converted in an hour."""
        return self.new.samples / SAMPLING_RATE / max(self.seconds, 1e-9)

    @property
    def bad_share(self) -> float:
        """Share of the rows that have a reason instead of units."""
        return 1 - self.counts.get(str(Reason.OK), 0) / max(self.rows, 1)

    def table(self) -> Table:
        """For people."""
        title = f"{self.folder}: " + ("finished" if self.finished else "other parts are missing")
        table = Table("", "", title=Text(title), title_justify="left", show_header=False)
        rate = self.units / max(self.samples / SAMPLING_RATE, 1e-9)
        made = f"{self.new.rows:,} rows in {clock(self.seconds)}"
        lines = {
            "rows": f"{self.rows:,} in {self.shards:,} shards, {self.bytes / 1e6:,.1f} MB",
            "audio": f"{self.hours:,.2f} h",
            "units": f"{self.units:,} ({rate:.1f} per second)",
            "this run": f"{made}, {self.hours_per_hour:,.0f} h of audio per hour",
        }
        for status, count in sorted(self.counts.items()):
            if status != Reason.OK:
                example = self.new.examples.get(status)
                lines[status] = f"{count:,}" + (f", as {example}" if example else "")
        for name, text in lines.items():
            table.add_row(name, Text(text))  # a path may look like rich's markup
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

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

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
        if isinstance(event, Waiting):
            if now - max(self._news, self._shown) > SILENCE_SECONDS:
                self._shown = now
                shards = ", ".join(map(str, event.shards)) or "none yet"
                self.say(f"no row for {now - self._news:.0f} s; waiting for shards {shards}")
        else:
            self._news = now
            self._live.pop(event.worker, None)
        if isinstance(event, Advance):
            self._live[event.worker] = event.tally
        elif isinstance(event, Done):
            self.tally = _sum(self.tally, event.tally)
        elif isinstance(event, Died):
            self.say(f"a worker {event.text}; its shard is made again")
        if self._bar is not None:
            current = _sum(self.tally, *self._live.values())
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=current.rows, description=self._line(current))
        elif now - self._shown > LINE_SECONDS:
            self._shown = now
            self.say(self._line(_sum(self.tally, *self._live.values())))

    def _line(self, tally: Tally) -> str:
        seconds, audio = max(self.seconds, 1e-9), tally.samples / SAMPLING_RATE
        parts = [
            f"{tally.rows:,} of {self._left:,} rows",
            f"{audio / 3600:,.2f} h",
            f"{audio / seconds:,.0f} h/h",
        ]
        if tally.rows:
            parts.append(f"{clock((self._left - tally.rows) * seconds / tally.rows)} left")
        bad = {name: count for name, count in tally.counts.items() if name != Reason.OK}
        return ", ".join(parts + [f"{count:,} {name}" for name, count in sorted(bad.items())])


def _sum(*tallies: Tally) -> Tally:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for tally in tallies:
        counts.update(tally.counts)
        examples = {**tally.examples, **examples}
    samples = sum(tally.samples for tally in tallies)
    return Tally(samples=samples, counts=dict(counts), examples=examples)
