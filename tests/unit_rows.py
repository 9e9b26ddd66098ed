"""Rows of units that look like a conversion's, and the shortest conversion there is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spire_dsu.errors import Reason
from spire_dsu.journal import Journal, Plan
from spire_dsu.shards import OutputManifest, write_shard
from spire_dsu.storage import Storage
from spire_dsu.types import UnitRow

CLUSTERS = 50
FINGERPRINT = {"num_clusters": CLUSTERS, "model": {"name": "tiny", "layer": 2}}
MULTIPLIER = int(os.environ.get("SPIRE_TEST_MULTIPLIER", "1"))
"""How much longer the random tests run than at every change: 10 at night, 100 before a release."""

STRANGE = (
    "two\nlines",
    "tab\there",
    "../../etc/x",
    "\U0001f600",
    "a" * 300,
    "-dash",
    "q\"'\\",
    "nul\0",
)


def row(
    index: int, rng: np.random.Generator, *, clusters: int = CLUSTERS, units: int = 12
) -> UnitRow:
    """One row; every seventh has a reason instead of units, some ids and texts are strange."""
    name = STRANGE[index // 5 % len(STRANGE)] if index % 5 == 0 else "utterance"
    about = {
        "id": f"{name}/{index:05d}",
        "text": None if index % 3 == 0 else f"text {index} \u00e9 \u4e2d",
        "lang": "en",
        "speaker": f"s{index % 4}",
        "source": f"audio/{index}.flac",
        "offset": float(index % 2),
        "duration": None if index % 2 else 1.5,
    }
    if index % 7 == 3:
        reasons = [reason for reason in Reason if reason is not Reason.OK]
        none16, none32 = np.zeros(0, np.uint16), np.zeros(0, np.uint32)
        return UnitRow(
            status=reasons[index // 7 % len(reasons)],
            units=none16,
            durations=none32,
            num_samples=index % 400,
            num_frames=0,
            **about,
        )
    frames = rng.integers(0, clusters, size=int(rng.integers(1, 2 * units)))
    frames = np.repeat(frames, rng.integers(1, 4, size=frames.size))
    return row_of_frames(frames, **about)


def row_of_frames(frames: Sequence[int] | np.ndarray, **about: object) -> UnitRow:
    """A row that is ok, with these units per frame."""
    frames = np.asarray(frames)
    first = np.flatnonzero(np.concatenate([[True], frames[1:] != frames[:-1]]))
    return UnitRow(
        status=Reason.OK,
        units=frames[first].astype(np.uint16),
        durations=np.diff(np.append(first, frames.size)).astype(np.uint32),
        num_samples=320 * frames.size + 80,
        num_frames=int(frames.size),
        **about,
    )


def make_rows(count: int, seed: int = 0, **options: int) -> list[UnitRow]:
    """`count` rows that depend on the seed alone."""
    rng = np.random.default_rng(seed)
    return [row(index, rng, **options) for index in range(count)]


class QuickStorage(Storage):
    """Forces nothing to disk: a test that cuts no power need not wait for one."""

    def fsync(self, fd: int) -> None:
        pass

    def fsync_dir(self, folder: Path) -> None:
        pass


QUICK = QuickStorage()


def convert(
    folder: Path,
    rows: Sequence[UnitRow],
    rows_per_shard: int = 8,
    *,
    part: tuple[int, int] = (0, 1),
    storage: Storage = QUICK,
    fingerprint: dict[str, object] | None = None,
    limit: int | None = None,
) -> OutputManifest | None:
    """The shortest conversion: rows that are there already, one worker, at most `limit` shards."""
    plan = Plan(len(rows), rows_per_shard)
    with Journal(folder, fingerprint or FINGERPRINT, plan, part=part, storage=storage) as journal:
        for shard in journal.pending()[:limit]:
            planned = plan.rows(shard)
            info = write_shard(
                folder,
                shard,
                rows[planned.start : planned.stop],
                journal.fingerprint,
                scratch=journal.scratch,
                storage=storage,
            )
            journal.commit(info)
        return journal.finish()


def tree(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def same(one: UnitRow, other: UnitRow) -> bool:
    """Whether two rows are equal in all that a shard holds."""
    names = [name for name in UnitRow.__dataclass_fields__ if name != "message"]
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        if name in ("units", "durations")
        else getattr(one, name) == getattr(other, name)
        for name in names
    )
