"""What a fit shows: a line that is renewed on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.status import Status

from spire_dsu.convert.progress import LINE_SECONDS, clock
from spire_dsu.fit.state import Extracted
from spire_dsu.kmeans import State
from spire_dsu.types import SAMPLING_RATE


class Show:
    """A context manager; shows nothing without a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._started = self._shown = time.monotonic()
        self._status: Status | None = None
        self._before: Extracted | None = None
        self._passes = 0

    def __enter__(self) -> Show:
        if self._console is not None and self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._console is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def news(self, text: str) -> None:
        """A line that the next one takes the place of."""
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() - self._shown > LINE_SECONDS:
            self._shown = time.monotonic()
            self.say(text)

    def reading(self, rows: int) -> None:
        """The manifest is being read."""
        self.news(f"reading the manifest: {rows:,} rows")

    def extracting(self, done: Extracted, rows: int) -> None:
        """Features are being made."""
        if self._before is None:
            self._before, self._started = done, time.monotonic()
            return
        seconds = max(time.monotonic() - self._started, 1e-9)
        made, audio = done.rows - self._before.rows, done.samples - self._before.samples
        rate = audio / SAMPLING_RATE / seconds
        left = clock(seconds / made * (rows - done.rows)) if made else "?"
        bad = done.rows - done.counts.get("ok", 0)
        self.news(
            f"features: {done.rows:,} of {rows:,} rows, "
            f"{done.samples / SAMPLING_RATE / 3600:,.2f} h, {rate:,.0f} h of audio per hour, "
            f"{left} left, {bad:,} rows without features"
        )

    def passing(self, state: State) -> None:
        """k-means is at work."""
        self.news(f"k-means: pass {len(state.history) + 1}, part {state.part + 1}")
        for number, each in enumerate(state.history[self._passes :], self._passes + 1):
            heldout = "" if each.heldout is None else f", held out {each.heldout:.5g}"
            dead = f", {each.reseeded} dead centroids moved" if each.reseeded else ""
            kind = "whole" if each.parts == 1 else f"in {each.parts} parts"
            self.say(f"pass {number} ({kind}): inertia {each.inertia:.5g}{heldout}{dead}")
        self._passes = len(state.history)
