"""How long a conversion of so many rows takes to go on where it was stopped.

    python benchmarks/convert_resume.py 10000000

All rows of the manifest are read, all shards but the last one are committed (with rows that were
never encoded), and then the same command is given again: seconds until the first new row is made,
from the call, with the worker's start. Prints one JSON object with the peaks of memory.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from convert_memory import COUNTING, peak_of

from spire_dsu.convert import Interrupted, convert
from spire_dsu.convert.engine import Engine
from spire_dsu.convert.job import Check, Done, Event, Progress, Spec, Tally, Target
from spire_dsu.convert.local import LocalEngine, spawn
from spire_dsu.errors import Reason
from spire_dsu.manifest import Manifest, open_manifest
from spire_dsu.shards import write_shard
from spire_dsu.types import UnitRow

LEFT = 1


class Pretending(LocalEngine):
    """Commits rows that nobody encoded, and stops before the end."""

    def run(self, target: Target, shards: Sequence[int], check: Check) -> Iterator[Event]:
        del check
        rows = Manifest(self.spec.rows)
        for shard in shards[:-LEFT]:
            first = shard * self.spec.rows_per_shard
            made = map(pretended, rows.rows(first, first + self.spec.rows_per_shard))
            folder, scratch = Path(target.folder), Path(target.scratch)
            info = write_shard(folder, shard, made, target.fingerprint, scratch=scratch)
            yield Done(0, info, Tally())
        raise Interrupted("so many are enough")


def pretended(row: Any) -> UnitRow:
    """A row with one unit."""
    return UnitRow(
        id=row.id, status=Reason.OK, units=np.zeros(1, np.uint16), durations=np.ones(1, np.uint32),
        num_samples=400, num_frames=1, text=row.text, lang=None, speaker=None, source=row.source,
        offset=0.0, duration=None,
    )  # fmt: skip


class Timed(LocalEngine):
    """Notes when the first row of this run was made."""

    first = 0.0

    def run(self, target: Target, shards: Sequence[int], check: Check) -> Iterator[Event]:
        for event in super().run(target, shards, check):
            if not Timed.first and isinstance(event, Progress | Done):
                Timed.first = time.perf_counter()
            yield event


def engine_of(kind: type[LocalEngine]) -> Any:
    """One worker, whose encoder counts."""

    def make(spec: Spec) -> Engine:
        return kind(spec, 1, launch=lambda: spawn([str(COUNTING)]))

    return make


def resume(rows: int) -> None:
    """Prints the seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 4000), 16_000)
        with (folder / "list.jsonl").open("w") as file:
            for row in range(rows):
                file.write(f'{{"id": "{row}", "audio_filepath": "a.wav", "text": "text {row}"}}\n')
        started = time.perf_counter()
        open_manifest(folder / "list.jsonl", work=folder / "rows")
        read, reading = time.perf_counter() - started, peak_of("self")
        wanted = {"manifest": folder / "list.jsonl", "out": folder / "out"}
        with contextlib.suppress(Interrupted):
            convert(**wanted, engine=engine_of(Pretending))
        started = time.perf_counter()
        summary = convert(**wanted, engine=engine_of(Timed))
        assert summary.finished
        assert summary.rows == rows
        found = {
            "resume": Timed.first - started,
            "read": read,
            "reading": reading,
            "driver": peak_of("self"),
            "new_rows": summary.new.rows,
        }
        print(json.dumps(found))


if __name__ == "__main__":
    resume(int(sys.argv[1]))
