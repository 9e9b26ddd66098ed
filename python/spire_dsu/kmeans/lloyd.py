"""Passes of k-means over rows that lie in one array, in memory or mapped from a file.

A pass takes the rows in parts. After each part the centroids are the means of all rows under the
labels known so far, those of the part just renewed (incremental k-means, as in Neal and Hinton
1998): every step lowers the objective or leaves it, as Lloyd's do, and the centroids move several
times a pass. Passes in parts, the mini-batches, come first; whole passes, Lloyd's own, come last.

Only rows that change their cluster are added and taken away, in float64 and in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from spire_dsu import _core
from spire_dsu.kmeans.start import Float64, Rows, draw_apart
from spire_dsu.types import Float32, Int32, Int64
from spire_dsu.units import Codebook, assign

PART_ROWS_PER_CLUSTER = 25
"""Fewer rows per cluster in a part, and the first means are worse than the rows they replace."""

MOST_PARTS = 32
COARSE = 10
"""Passes in parts end at a gain of so many tolerances."""


BLOCK = 65_536
"""Rows that are assigned between two checks: seconds at most."""

MOST_RESEEDED = 256
"""Empty clusters that are moved after one pass; more would only lie beside each other."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass came to.

    Attributes:
        parts: mini-batches that it took; 1: a whole pass.
        inertia: mean squared distance of the rows to the means of their clusters.
        heldout: mean squared distance of rows that are not fitted to their nearest centroids; None
            where there are none.
        moved: share of the rows whose cluster changed.
        reseeded: empty clusters that were moved to another row.
        settled: it gained so little that its kind of pass is over.
    """

    parts: int
    inertia: float
    heldout: float | None
    moved: float
    reseeded: int
    settled: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to stop.

    Attributes:
        passes: at most so many.
        tolerance: a pass that lowers the inertia (the held-out one, where there is one) by less
            than this share ends the fit.
    """

    passes: int = 100
    tolerance: float = 1e-4

    def parts_of_next(self, history: list[Pass], most: int) -> int:
        """Into how many parts the next pass goes; 0: there is none."""
        if not history:
            return most
        if len(history) >= self.passes:
            return 0
        last = history[-1]
        return last.parts if not last.settled else int(last.parts > 1)

    def settles(self, parts: int, before: float | None, now: float) -> bool:
        """Whether a pass that brought the inertia from `before` to `now` gained too little."""
        enough = self.tolerance * (COARSE if parts > 1 else 1)
        return before is not None and before - now <= enough * now


@dataclass(slots=True)
class State:
    """All that a fit knows between two parts: who has it can go on. Arrays change in place.

    Attributes:
        centroids: float32 [K, D].
        sums: float64 [K, D], of the rows of each cluster.
        counts: int64 [K], of those rows.
        labels: int32 [T], -1 before a row's first part.
        part: the next part of the pass that has begun.
        moved: rows that changed their cluster in that pass.
        history: the passes that are over.
    """

    centroids: Float32
    sums: Float64
    counts: Int64
    labels: Int32
    part: int = 0
    moved: int = 0
    history: list[Pass] = field(default_factory=list)

    @classmethod
    def begin(cls, centroids: Float32, rows: int) -> State:
        """The state before the first pass over so many rows."""
        clusters = len(centroids)
        return cls(
            centroids,
            np.zeros(centroids.shape),
            np.zeros(clusters, np.int64),
            np.full(rows, -1, np.int32),
        )


class Lloyd:
    """A fit that goes on from a state.

    Attributes:
        state: changes with every part.
    """

    def __init__(
        self,
        features_TD: Rows,
        state: State,
        *,
        seed: int,
        heldout_TD: Rows | None = None,
        threads: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Takes up a state.

        Args:
            features_TD: float32 or float16 [T, D], finite; not to change meanwhile.
            state: where it begins.
            seed: decides where dead centroids go.
            heldout_TD: rows that are measured after each pass and not fitted.
            threads: as for `assign`; no result depends on it.
            check: called every few seconds; may raise, and the part begun is dropped.
        """
        self._check = check
        self._rows = features_TD
        self._heldout = heldout_TD
        self._seed = seed
        self._threads = threads
        self._most_parts = min(
            MOST_PARTS, max(1, len(features_TD) // (PART_ROWS_PER_CLUSTER * len(state.centroids)))
        )
        # Distances from here: of large common offsets, squares would leave nothing.
        self._centre = features_TD[: len(state.centroids)].mean(axis=0, dtype=np.float32)
        self._spread = float(self._distances(features_TD, self._centre[None], None).sum())
        self.state = state

    def run(self, schedule: Schedule, after_part: Callable[[], None] | None = None) -> list[Pass]:
        """Passes until the schedule ends them.

        Args:
            schedule: when to stop.
            after_part: called whenever `state` is one to go on from; may raise to end the work.

        Returns:
            All passes, also those before the state that it went on from.
        """
        state = self.state
        while parts := schedule.parts_of_next(state.history, self._most_parts):
            while state.part < parts:
                self._take_part(parts)
                if state.part == parts:
                    self._end_pass(parts, schedule)
                    state.part = state.moved = 0
                if after_part is not None:
                    after_part()
                if not state.part:
                    break
        return state.history

    def measure(self, features_TD: Rows) -> tuple[float, Int32]:
        """Mean squared distance of rows to their nearest centroids, and these, int32 [T]."""
        labels = self._assign(features_TD)
        distances = self._distances(features_TD, self.state.centroids, labels)
        return float(distances.mean()), labels

    def _assign(self, rows: Rows) -> Int32:
        codebook = Codebook(self.state.centroids)
        labels = np.empty(len(rows), np.int32)
        for start in range(0, len(rows), BLOCK):
            if self._check is not None:
                self._check()
            block = slice(start, start + BLOCK)
            labels[block] = assign(rows[block], codebook, threads=self._threads)
        return labels

    def _take_part(self, parts: int) -> None:
        """Every `parts`-th row gets its nearest centroid; then the centroids are means again."""
        state = self.state
        mine = slice(state.part, None, parts)
        labels = self._assign(self._rows[mine])
        self._move(self._rows[mine], np.ascontiguousarray(state.labels[mine]), labels)
        state.moved += int(np.count_nonzero(state.labels[mine] != labels))
        state.labels[mine] = labels
        state.part += 1

    def _end_pass(self, parts: int, schedule: Schedule) -> None:
        state = self.state
        reseeded = self._reseed()
        inertia = self._inertia()
        heldout = None if self._heldout is None else self.measure(self._heldout)[0]
        before = None
        if state.history:
            last = state.history[-1]
            before = last.inertia if heldout is None else last.heldout
        judged = inertia if heldout is None else heldout
        settled = not reseeded and schedule.settles(parts, before, judged)
        moved = state.moved / len(state.labels)
        state.history.append(Pass(parts, inertia, heldout, moved, reseeded, settled))

    def _move(self, rows: Rows, before: Int32, after: Int32) -> None:
        state = self.state
        _core.accumulate(rows, before, after, state.sums, state.counts, threads=self._threads or 0)
        touched = np.zeros(len(state.counts), np.bool_)
        changed = before != after
        touched[after[changed]] = touched[before[changed & (before >= 0)]] = True
        touched &= state.counts > 0  # an empty one stays where it is until the end of the pass
        state.centroids[touched] = state.sums[touched] / state.counts[touched, None]

    def _reseed(self) -> int:
        """Moves empty clusters to rows drawn as the start draws them; returns how many."""
        state = self.state
        empty = np.flatnonzero(state.counts == 0)
        if not empty.size:
            return 0
        distances = self._distances(self._rows, state.centroids, state.labels)
        if not distances.any():  # each row is a centroid: there is no better place
            return 0
        rng = np.random.default_rng([self._seed, 2, len(state.history)])
        rows = draw_apart(self._rows, distances, min(empty.size, MOST_RESEEDED), rng)
        before, after = state.labels[rows], empty[: len(rows)].astype(np.int32)
        self._move(np.ascontiguousarray(self._rows[rows]), before, after)
        state.labels[rows] = after
        return len(rows)

    def _inertia(self) -> float:
        """Of the labels as they are, from the sums alone: sum |x|^2 - sum n |mean|^2."""
        state = self.state
        full = state.counts > 0
        means = state.sums[full] / state.counts[full, None] - self._centre
        explained = (state.counts[full] * np.einsum("kd,kd->k", means, means)).sum()
        return max(0.0, self._spread - float(explained)) / len(state.labels)

    def _distances(self, rows: Rows, centroids: Float32, labels: Int32 | None) -> Float64:
        if labels is None:
            labels = np.zeros(len(rows), np.int32)
        return _core.distances(rows, labels, centroids, threads=self._threads or 0)


def perplexity(counts: Int64) -> float:
    """exp(-sum p log p) of the shares p of int64 [K] counts: how many clusters do the work."""
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
