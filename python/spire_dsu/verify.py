"""Reads every byte of a conversion's output and lists all that is wrong with it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from spire_dsu.journal import JournalError, journal_names, parse_journal
from spire_dsu.shards import (
    MANIFEST,
    OutputManifest,
    ShardError,
    ShardInfo,
    UnitBatch,
    read_shard,
)
from spire_dsu.storage import DISK, Storage
from spire_dsu.types import Int64

_SHARD = re.compile(r"units-\d{5,}\.parquet")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: the file at fault, relative to the output folder.
        message: what is wrong with it.
    """

    file: str
    message: str

    def __str__(self) -> str:
        return self.message if self.file in self.message else f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        folder: the output folder.
        shards: shards that were read and are good.
        rows: rows in them.
        bytes: bytes in them.
        problems: all that is wrong; empty for a conversion that is finished and whole.
    """

    folder: Path
    shards: int = 0
    rows: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the output is finished and every byte is as it was committed."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Source:
    folder: Path
    fingerprint: Mapping[str, JsonValue]
    storage: Storage

    def batches(self, info: ShardInfo) -> Iterator[UnitBatch]:
        return read_shard(self.folder, info, self.fingerprint, self.storage)


@dataclass(frozen=True, slots=True)
class _Checked:
    info: ShardInfo
    hashes: Int64  # int64 [N], one per id
    error: str = ""


def verify(
    folder: str | os.PathLike[str], *, threads: int | None = None, storage: Storage = DISK
) -> Verification:
    """Reads every byte: digests, rows, counts, ids, and whether anything is missing or too much.

    Args:
        folder: the output of `spire-dsu convert`, finished or not; nothing in it is changed.
        threads: shards to read at a time, by default as many as there are cores, 8 at most.
        storage: the calls to use.

    Returns:
        The problems, by file, and what is good.
    """
    folder = Path(folder)
    problems: list[Problem] = []
    infos, fingerprint, finished = _listed(folder, storage, problems)
    for name in storage.listdir(folder):
        # While a conversion runs, a shard has its name a moment before its line in the journal.
        if _SHARD.fullmatch(name) and finished and name not in {info.file for info in infos}:
            problems.append(Problem(name, "not listed"))
    source = _Source(folder, fingerprint, storage)
    workers = threads or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        checked = list(pool.map(lambda info: _check_shard(source, info), infos))
    good = [one for one in checked if not one.error]
    problems += [Problem(one.info.file, one.error) for one in checked if one.error]
    problems += _repeated_ids(source, good)
    return Verification(
        folder,
        shards=len(good),
        rows=sum(one.info.rows for one in good),
        bytes=sum(one.info.bytes for one in good),
        problems=sorted(problems, key=lambda problem: problem.file),
    )


def _listed(
    folder: Path, storage: Storage, problems: list[Problem]
) -> tuple[list[ShardInfo], Mapping[str, JsonValue], bool]:
    """The shards that should be there, by the manifest or, before it exists, by the journals."""
    names = journal_names(folder, storage)
    if MANIFEST in storage.listdir(folder):
        try:
            manifest = OutputManifest.from_bytes(storage.read(folder / MANIFEST))
        except (ShardError, OSError) as error:
            problems.append(Problem(MANIFEST, str(error)))
            return [], {}, False
        return list(manifest.shards), manifest.fingerprint, True
    if not names:
        problems.append(Problem(MANIFEST, f"missing: {folder} holds no conversion"))
        return [], {}, False
    infos: dict[int, ShardInfo] = {}
    fingerprint: Mapping[str, JsonValue] = {}
    for name in names:
        try:
            data = storage.read(folder / name)
            header, found, good = parse_journal(data, name)
        except (JournalError, OSError) as error:
            problems.append(Problem(name, str(error)))
            continue
        if good != data:
            problems.append(Problem(name, "holds a damaged or torn line"))
        fingerprint = fingerprint or header.fingerprint
        for info in found:
            if infos.setdefault(info.index, info) != info:
                problems.append(Problem(info.file, "was committed twice, with different bytes"))
    problems.append(Problem(MANIFEST, f"missing: not finished, {len(infos)} shards are committed"))
    return [infos[k] for k in sorted(infos)], fingerprint, False


def _check_shard(source: _Source, info: ShardInfo) -> _Checked:
    hashes: list[Int64] = []
    counts: Counter[str] = Counter()
    samples = 0
    try:
        for batch in source.batches(info):
            ids = batch.column("id")
            hashes.append(np.fromiter(map(hash, ids), np.int64, len(ids)))
            counts.update(batch.statuses())
            samples += int(batch.numbers("num_samples")[batch.ok].sum())
        if (counts, samples) != (info.counts, info.samples):
            raise ShardError(f"{info.file}: its counts are not those that are listed for it")
    except ShardError as error:
        return _Checked(info, np.zeros(0, np.int64), str(error))
    return _Checked(info, np.concatenate(hashes))


def _repeated_ids(source: _Source, checked: list[_Checked]) -> Iterator[Problem]:
    """Ids that two rows have. 64-bit hashes find the candidates: 10 M rows take 400 MB."""
    if not checked:
        return
    hashes = np.concatenate([one.hashes for one in checked])
    owners = np.repeat(np.arange(len(checked)), [one.hashes.size for one in checked])
    order = np.argsort(hashes, kind="stable")
    twin = hashes[order][1:] == hashes[order][:-1]
    suspects = order[np.r_[False, twin] | np.r_[twin, False]]
    wanted = set(hashes[suspects].tolist())
    seen: dict[str, str] = {}
    for owner in np.unique(owners[suspects]).tolist():
        info = checked[owner].info
        ids = [name for batch in source.batches(info) for name in batch.column("id")]
        twice = []
        for name in ids:
            if hash(name) in wanted:
                if name in seen:
                    twice.append(name)
                seen.setdefault(name, info.file)
        if twice:
            more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            yield Problem(
                info.file, f"id {twice[0]!r}{more} stands twice, also in {seen[twice[0]]}"
            )
