"""One pass over the shards: what is counted, and what follows from the counts."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.shards import UnitBatch, open_shards
from spire_dsu.types import FRAME_SECONDS, SAMPLING_RATE, Int64

LONGEST_RUN = 50
"""Runs of so many frames (one second) and more are counted together."""

LONGEST_UTTERANCE = 40
"""Utterances of so many seconds and more are counted together."""

EXAMPLES = 3
OK = "ok"


@dataclass(slots=True)
class Language:
    """What there is of one language.

    Attributes:
        rows: utterances that have units.
        samples: their samples at 16 kHz.
        units: their units.
    """

    rows: int = 0
    samples: int = 0
    units: int = 0


@dataclass(slots=True)
class Summary:
    """What a conversion holds.

    Attributes:
        folder: the output folder.
        fingerprint: what made it.
        num_clusters: K.
        num_shards: how many files.
        num_bytes: how large they are together.
        counts: rows by status.
        samples: samples at 16 kHz of the rows that have units.
        unit_counts: int64 [K], how often each unit occurs, runs counted once.
        frame_counts: int64 [K], how many frames each unit lasts in all.
        run_lengths: int64 [LONGEST_RUN], runs of 1, 2, ... frames; the last counts all longer ones.
        longest_run: frames of the longest run.
        seconds: int64 [LONGEST_UTTERANCE + 1], utterances of 0-1, 1-2, ... s; the last, all longer.
        languages: by name; "" where the manifest names none.
        examples: ids of the first rows of each status but ok.
    """

    folder: Path
    fingerprint: dict[str, Any]
    num_clusters: int
    num_shards: int
    num_bytes: int
    unit_counts: Int64
    frame_counts: Int64
    run_lengths: Int64
    seconds: Int64
    samples: int = 0
    longest_run: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    languages: dict[str, Language] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Utterances, with and without units."""
        return sum(self.counts.values())

    @property
    def hours(self) -> float:
        """Hours of audio that have units."""
        return self.samples / SAMPLING_RATE / 3600

    @property
    def num_units(self) -> int:
        """Units, runs merged."""
        return int(self.unit_counts.sum())

    @property
    def num_frames(self) -> int:
        """Frames of 20 ms."""
        return int(self.frame_counts.sum())

    @property
    def units_per_second(self) -> float:
        """Units per second of audio, runs merged."""
        return self.num_units / (self.samples / SAMPLING_RATE) if self.samples else 0.0

    @property
    def merged(self) -> float:
        """Share of the frames that merging runs took away."""
        return 1 - self.num_units / self.num_frames if self.num_frames else 0.0

    @property
    def mean_run(self) -> float:
        """Mean length of a run, in milliseconds."""
        return self.num_frames / self.num_units * FRAME_SECONDS * 1000 if self.num_units else 0.0

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the units: how many equally frequent ones would be as varied."""
        return perplexity(self.unit_counts)

    @property
    def unused(self) -> list[int]:
        """Units that never occur."""
        return [int(unit) for unit in np.flatnonzero(self.unit_counts == 0)]

    def by_rank(self) -> Int64:
        """int64: the counts of the units that occur, most frequent first."""
        found = self.unit_counts[self.unit_counts > 0]
        return np.sort(found)[::-1]

    def top(self, count: int) -> list[int]:
        """The most frequent units; of equally frequent ones, the lower first."""
        order = np.argsort(-self.unit_counts, kind="stable")[:count]
        return [int(unit) for unit in order if self.unit_counts[unit]]


def perplexity(counts: Int64) -> float:
    """exp of the entropy of a distribution given by counts; 0 when there are none."""
    total = int(counts.sum())
    if total == 0:
        return 0.0
    share = counts[counts > 0] / total
    return math.exp(-float((share * np.log(share)).sum()))


def summarize(folder: str | os.PathLike[str]) -> Summary:
    """Reads a finished conversion once and counts.

    Args:
        folder: what `spire-dsu convert` wrote.

    Raises:
        ShardError: the conversion is not finished or damaged.
    """
    shards = open_shards(folder)
    clusters = shards.num_clusters
    summary = Summary(
        folder=Path(folder),
        fingerprint=dict(shards.manifest.fingerprint),
        num_clusters=clusters,
        num_shards=len(shards.manifest.shards),
        num_bytes=sum(info.bytes for info in shards.manifest.shards),
        unit_counts=np.zeros(clusters, np.int64),
        frame_counts=np.zeros(clusters, np.int64),
        run_lengths=np.zeros(LONGEST_RUN, np.int64),
        seconds=np.zeros(LONGEST_UTTERANCE + 1, np.int64),
    )
    for batch in shards.batches():
        _count_units(summary, batch)
        _count_rows(summary, batch)
    return summary


def _count_units(summary: Summary, batch: UnitBatch) -> None:
    units, durations, clusters = batch.units, batch.durations, summary.num_clusters
    summary.unit_counts += np.bincount(units, minlength=clusters)
    frames = np.bincount(units, weights=durations, minlength=clusters)  # float64: exact to 2**53
    summary.frame_counts += frames.astype(np.int64)
    runs = np.bincount(np.minimum(durations, LONGEST_RUN), minlength=LONGEST_RUN + 1)
    summary.run_lengths += runs[1:]
    summary.longest_run = max(summary.longest_run, int(durations.max(initial=0)))


def _count_rows(summary: Summary, batch: UnitBatch) -> None:
    ok_N, samples_N = batch.ok, batch.numbers("num_samples")
    summary.counts.update(batch.statuses())
    summary.samples += int(samples_N[ok_N].sum())
    seconds = np.minimum(samples_N[ok_N] // SAMPLING_RATE, LONGEST_UTTERANCE)
    summary.seconds += np.bincount(seconds, minlength=LONGEST_UTTERANCE + 1)
    names, languages = batch.column("id"), batch.column("lang")
    for row in np.flatnonzero(~ok_N).tolist():
        found = summary.examples.setdefault(batch.status(row), [])
        if len(found) < EXAMPLES:
            found.append(names[row])
    units_N = np.diff(batch.row_splits)
    groups: dict[str, list[int]] = {}
    for row in np.flatnonzero(ok_N).tolist():
        groups.setdefault(languages[row] or "", []).append(row)
    for name, rows in groups.items():
        language = summary.languages.setdefault(name, Language())
        language.rows += len(rows)
        language.samples += int(samples_N[rows].sum())
        language.units += int(units_N[rows].sum())
