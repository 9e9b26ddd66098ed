"""What is committed: the only place that knows how a conversion goes on after an interruption.

A shard counts once its line is in a journal, and its line is written only after the shard itself is
whole, named and on disk. `manifest.json` comes last and takes the journals' place. The order of
these writes is all the protocol there is: whatever is killed, the next run finds each shard either
committed or still to do, and makes the same bytes again.

    OUT/units-00042.parquet           a shard
    OUT/journal-00003-of-00016        the shards that part 3 of 16 has committed; gone at the end
    OUT/.tmp/00003-of-00016/          that part's lock and its temporary files; gone at the end
    OUT/manifest.json                 all shards; there when all is done, and the same for any parts

A part is a run over its own range of shards: one machine alone is part 0 of 1, a SLURM array has as
many as it has tasks. Whoever finds that all shards are committed writes the manifest.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from spire_dsu.config import Config, differing
from spire_dsu.errors import SpireError
from spire_dsu.locking import LOCK, LockedError, lock_folder, remove_folder
from spire_dsu.shards import MANIFEST, OutputManifest, ShardInfo, num_clusters, writer_facts
from spire_dsu.storage import DISK, Storage, write_all, write_file

_LOG = logging.getLogger(__name__)
_JOURNAL = re.compile(r"journal-(\d{5})-of-(\d{5})")
_TMP = ".tmp"
_PATIENCE = 1.0  # seconds; others hold a lock for a moment only while they look who is dead


class JournalError(SpireError):
    """A journal that is damaged, or contradicts what is on disk."""


class FingerprintError(JournalError):
    """The folder holds another conversion; the text names each field that differs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rows make which shard: decided before any work, and never by the number of workers.

    Attributes:
        num_rows: rows of the input manifest.
        rows_per_shard: rows of every shard but the last.
    """

    num_rows: int
    rows_per_shard: int

    def __post_init__(self) -> None:
        if self.num_rows < 0 or self.rows_per_shard < 1:
            raise JournalError(f"no plan: {self.num_rows} rows, {self.rows_per_shard} per shard")

    @property
    def num_shards(self) -> int:
        """Shards that all rows make."""
        return -(-self.num_rows // self.rows_per_shard)

    def rows(self, shard: int) -> range:
        """The rows of one shard."""
        first = shard * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, self.num_rows))

    def part(self, index: int, count: int) -> range:
        """The shards of part `index` of `count`: neighbours, so that a part reads its input once.

        Raises:
            JournalError: there is no such part.
        """
        if not 0 <= index < count <= 99_999:
            raise JournalError(f"part {index} of {count} does not exist")
        return range(index * self.num_shards // count, (index + 1) * self.num_shards // count)


class Header(Config):
    """The first line of a journal."""

    format: str = "spire-dsu-journal"
    version: int = 1
    fingerprint: dict[str, JsonValue]


def frame(content: Config) -> bytes:
    """A journal line: the length and CRC-32 of a JSON text in hexadecimal, and the text."""
    text = json.dumps(content.model_dump(mode="json"), sort_keys=True, allow_nan=False).encode()
    return b"%08x %08x %s\n" % (len(text), zlib.crc32(text), text)


def parse_journal(data: bytes, name: str) -> tuple[Header, list[ShardInfo], bytes]:
    """Reads a journal as far as it can be trusted.

    Each line stands for itself: one that is torn or damaged counts as never written, so its shard
    is made again.

    Args:
        data: the file's bytes.
        name: how an error calls it.

    Returns:
        The header, the shards of the good lines in order, and the bytes of the good lines: equal to
        `data` if and only if nothing is damaged.

    Raises:
        JournalError: the first line is damaged, which no interruption can cause.
    """
    lines = data.splitlines(keepends=True) if data else [b""]
    try:
        header = Header.model_validate_json(lines[0].split(b" ", 2)[2])
        intact = frame(header) == lines[0]
    except (ValueError, IndexError) as error:
        raise JournalError(f"{name}: its first line is damaged") from error
    if not intact or header.version != 1:
        raise JournalError(f"{name}: its first line is damaged, or of another version")
    infos: list[ShardInfo] = []
    good = [lines[0]]
    for line in lines[1:]:
        try:
            info = ShardInfo.model_validate_json(line.split(b" ", 2)[2])
        except (ValueError, IndexError):
            continue
        if frame(info) == line:
            infos.append(info)
            good.append(line)
    return header, infos, b"".join(good)


def journal_names(folder: Path, storage: Storage = DISK) -> list[str]:
    """The journals in an output folder, of all parts."""
    return [name for name in storage.listdir(folder) if _JOURNAL.fullmatch(name)]


class Journal:
    """A conversion in progress, as one part of it sees it. Use it in a `with` block.

        with Journal(out, fingerprint, Plan(num_rows, 4096)) as journal:
            for shard in journal.pending():
                journal.commit(write_shard(out, shard, rows, journal.fingerprint))
            manifest = journal.finish()

    Attributes:
        folder: the output folder.
        plan: which rows make which shard.
        fingerprint: what `write_shard` must be given: all that decides the bytes.
        scratch: where this part's temporary files go.
        committed: the shards of all parts that were committed when the journal was opened, and
            those of this part since.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        fingerprint: Mapping[str, JsonValue],
        plan: Plan,
        *,
        part: tuple[int, int] = (0, 1),
        storage: Storage = DISK,
    ) -> None:
        """Locks the part, clears what an earlier run of it left, and finds what is committed.

        Args:
            folder: the output folder; made when absent.
            fingerprint: what decides the units, with `num_clusters`. The plan and the versions of
                the shard format and its writer are added here.
            plan: which rows make which shard.
            part: index and count, for several machines that share the folder.
            storage: the calls to use.

        Raises:
            LockedError: another run works on this part, or on another division into parts.
            FingerprintError: the folder holds a conversion with other settings.
            JournalError: a journal is damaged.
            ShardError: `manifest.json` is damaged, or there is no `num_clusters`.
            OSError: the disk failed.
        """
        num_clusters(fingerprint)
        self.folder, self.plan = Path(folder), plan
        self.fingerprint = _complete(fingerprint, plan)
        self._mine = plan.part(*part)
        self._name = f"{part[0]:05d}-of-{part[1]:05d}"
        self._path = self.folder / f"journal-{self._name}"
        self._storage = storage
        self._fd = -1
        self.scratch = self.folder / _TMP / self._name
        if not self.folder.exists():
            storage.make_dir(self.folder)
            storage.fsync_dir(self.folder.absolute().parent)  # or all of it can go with its name
        self._lock = lock_folder(self.scratch, storage, patience=_PATIENCE)
        try:
            self._clear_others(part[1])
            for name in storage.listdir(self.scratch):
                if name != LOCK:
                    storage.remove(self.scratch / name)
            self.committed = self._load()
            if self.pending():
                self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def pending(self) -> list[int]:
        """The shards of this part that are still to do, in order."""
        return [shard for shard in self._mine if shard not in self.committed]

    def commit(self, info: ShardInfo) -> None:
        """Records a shard that `write_shard` has written. When this returns, it is committed.

        Raises:
            JournalError: the shard is not of this part, has other rows than planned, or other bytes
                than an earlier commit of it; or an earlier call failed, after which nothing may be
                appended any more.
            OSError: the line may or may not be on disk; run again.
        """
        if self._fd < 0:
            raise JournalError(f"{self._path}: closed, or broken by an earlier error")
        if info.index not in self._mine or info.rows != len(self.plan.rows(info.index)):
            raise JournalError(f"{info.file} with {info.rows} rows is not planned for this part")
        _agree(self.committed.get(info.index, info), info)
        fd, self._fd = self._fd, -1  # after half a line, no second line may follow
        try:
            write_all(self._storage, fd, frame(info))
            self._storage.fsync(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self.committed[info.index] = info

    def finish(self) -> OutputManifest | None:
        """Writes `manifest.json` if the shards of all parts are committed, and tidies up.

        Returns:
            What the output holds, or None while shards of other parts are missing.

        Raises:
            JournalError: two parts disagree on a shard.
            OSError: the disk failed; run again.
        """
        self.committed = self._load()
        if len(self.committed) < self.plan.num_shards:
            return None
        manifest = OutputManifest(
            fingerprint=self.fingerprint,
            num_rows=self.plan.num_rows,
            rows_per_shard=self.plan.rows_per_shard,
            shards=tuple(self.committed[k] for k in range(self.plan.num_shards)),
        )
        data = manifest.to_bytes()
        if self._read_if_there(MANIFEST) != data:
            temporary = self.scratch / MANIFEST
            write_file(self.folder / MANIFEST, data, temporary=temporary, storage=self._storage)
        for name in journal_names(self.folder, self._storage):
            self._storage.remove(self.folder / name)
        self._clear_others()
        remove_folder(self.scratch, self._lock, self._storage)
        self._storage.fsync_dir(self.folder)
        self.close()
        return manifest

    def close(self) -> None:
        """Lets the part go, so that another run may take it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._lock >= 0:
            with contextlib.suppress(OSError):  # what stays is cleared by the next run
                remove_folder(self.scratch, self._lock, self._storage)
            os.close(self._lock)
            self._lock = -1

    def _read_if_there(self, name: str) -> bytes | None:
        try:
            return self._storage.read(self.folder / name)
        except FileNotFoundError:
            return None  # finished and removed by another part between the listing and now

    def _load(self) -> dict[int, ShardInfo]:
        """All committed shards whose files are there, from the manifest and every journal."""
        found: dict[int, ShardInfo] = {}
        for name in journal_names(self.folder, self._storage):
            if (data := self._read_if_there(name)) is not None:
                header, infos, _ = parse_journal(data, str(self.folder / name))
                self._compare(header.fingerprint)
                for info in infos:
                    found[info.index] = _agree(found.get(info.index, info), info)
        # Read last: who finishes writes the manifest before removing the journals, so a journal
        # that was missed above is covered by it.
        if (data := self._read_if_there(MANIFEST)) is not None:
            manifest = OutputManifest.from_bytes(data)
            self._compare(manifest.fingerprint)
            for info in manifest.shards:
                found[info.index] = _agree(found.get(info.index, info), info)
        lost = [k for k, info in found.items() if _size(self.folder / info.file) != info.bytes]
        for k in lost:
            _LOG.warning("%s was committed but is gone or cut; it is made again", found.pop(k).file)
        return found

    def _compare(self, old: Mapping[str, JsonValue]) -> None:
        changed = differing(dict(_flatten(old)), dict(_flatten(self.fingerprint)))
        if changed:
            raise FingerprintError(
                f"{self.folder} holds a conversion with other settings: {'; '.join(changed)}. "
                "Use another folder, or the same settings."
            )

    def _start(self) -> None:
        """Makes this part's journal, or cuts off what a crash left at its end, and opens it."""
        data = self._read_if_there(self._path.name)
        good = frame(Header(fingerprint=self.fingerprint))
        if data is not None:
            good = parse_journal(data, str(self._path))[2]
        if data != good:
            if data is not None:
                _LOG.warning("%s: damaged lines dropped; their shards are made again", self._path)
            temporary = self.scratch / self._path.name
            write_file(self._path, good, temporary=temporary, storage=self._storage)
        self._fd = self._storage.open(self._path, os.O_WRONLY | os.O_APPEND)

    def _clear_others(self, parts: int | None = None) -> None:
        """Removes what dead runs left; refuses to run beside a live one that divides otherwise.

        Args:
            parts: into how many parts this run divides the shards: the others of this division are
                not looked at, since they may just be starting. None: all has been done, any may go.
        """
        for name in self._storage.listdir(self.folder / _TMP):
            path = self.folder / _TMP / name
            if path == self.scratch or (parts and name.endswith(f"-of-{parts:05d}")):
                continue
            try:
                lock = lock_folder(path, self._storage, patience=_PATIENCE if parts else 0)
            except LockedError:
                if parts:
                    raise
                continue
            try:
                remove_folder(path, lock, self._storage)
            finally:
                os.close(lock)


def _complete(fingerprint: Mapping[str, JsonValue], plan: Plan) -> dict[str, JsonValue]:
    """The fingerprint with what is decided here, as it comes back from a file."""
    rows = {"num_rows": plan.num_rows, "rows_per_shard": plan.rows_per_shard}
    try:
        text = json.dumps({**fingerprint, **writer_facts(), **rows}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JournalError(f"the fingerprint is no JSON: {error}") from error
    complete: dict[str, JsonValue] = json.loads(text)
    return complete


def _agree(old: ShardInfo, new: ShardInfo) -> ShardInfo:
    if old != new:
        raise JournalError(
            f"{new.file} was committed with digest {old.sha256[:12]} and is now {new.sha256[:12]}: "
            "this machine or its libraries do not make the same bytes"
        )
    return new


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
