"""Names of rows: made from paths where none is given, and never the same for two rows."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath

import numpy as np

from spire_dsu.errors import ManifestError
from spire_dsu.textio import printable
from spire_dsu.types import Int64

_PARTS = 64
_PENDING = 1 << 16

Named = tuple[int, str, str | None]
"""(row, id, second choice): the second choice is None for an id that the manifest itself gives."""


def derive_ids(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """One unique id per path: its parts below the folder common to all, without the extension.

    Where two paths differ only by their extension, the extension stays; the same path given again
    gets "#2", "#3". The answer depends on the list alone, not on what the disk holds.
    """
    parts = [PurePath(printable(path)).parts for path in paths]
    shared = _common_parents(parts)
    full = ["/".join(p[shared:]) for p in parts]
    stems = ["/".join((*p[shared:-1], PurePath(p[-1]).stem)) if p else "" for p in parts]
    owners = Counter(stem for stem, _ in set(zip(stems, full, strict=True)))
    ids: list[str] = []
    taken: set[str] = set()
    for stem, name in zip(stems, full, strict=True):
        base = stem if owners[stem] == 1 else name
        unique, copy = base, 1
        while unique in taken:
            copy += 1
            unique = f"{base}#{copy}"
        taken.add(unique)
        ids.append(unique)
    return ids


def _common_parents(parts: Iterable[tuple[str, ...]]) -> int:
    """How many leading folders all paths share; the last part of a path never counts."""
    folders = [p[:-1] for p in parts]
    if not folders:
        return 0
    first, last = min(folders), max(folders)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return shared


def names_of(path: str) -> tuple[str, str]:
    """(id, second choice) for a path as a list gives it: without and with its extension, no leading
    "/" or "./".

    Unlike `derive_ids` this looks at one path alone, so that a list of any length streams through
    it.
    """
    full = printable(path).lstrip("/")
    while full.startswith("./"):
        full = full[2:].lstrip("/")
    slash, dot = full.rfind("/"), full.rfind(".")
    return (full[:dot] if dot > slash + 1 and dot + 1 < len(full) else full), full


class UniqueIds:
    """Finds ids that occur twice among any number of rows, in bounded memory; a context manager.

    A 64-bit hash per row goes to one of 64 files on the disk, by its low bits; each file is then
    sorted alone. Only rows whose hashes meet are looked at again, so a collision of hashes never
    passes for a duplicate. Memory beyond that grows with the number of rows that have to be
    renamed.

    Args:
        folder: where the temporary files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=".ids-", dir=folder)
        self._pending = array("q")
        self._rows = 0

    def __enter__(self) -> UniqueIds:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def add(self, name: str) -> None:
        """Takes the id of the next row."""
        self._pending.append(hash(name))
        if len(self._pending) == _PENDING:
            self._spill()

    def resolve(
        self, fetch: Callable[[Int64], Iterator[Named]], place: Callable[[int], str]
    ) -> dict[int, str]:
        """New names for the rows whose derived id is taken: row -> id.

        Args:
            fetch: yields the named rows; takes their numbers, ascending.
            place: a row's number -> how a message calls it.

        Raises:
            ManifestError: the manifest itself gives one id to two rows; names both.
        """
        groups: dict[str, list[tuple[int, str | None]]] = defaultdict(list)
        for row, name, second in fetch(self._meeting()):
            groups[name].append((row, second))
        waiting: list[tuple[int, str, int]] = []
        for name, members in groups.items():
            if len(members) > 1:
                waiting += _to_rename(name, members, place)
        return self._rename(sorted(waiting))

    def _meeting(self) -> Int64:
        """Rows whose hash another row has too, ascending."""
        self._spill()
        rows = [np.empty(0, np.int64)]
        for part in range(_PARTS):
            pairs = self._part(part)
            pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
            same = np.zeros(len(pairs) + 1, dtype=bool)
            same[1:-1] = pairs[1:, 0] == pairs[:-1, 0]
            rows.append(pairs[same[1:] | same[:-1], 1])
        return np.sort(np.concatenate(rows))

    def _rename(self, waiting: list[tuple[int, str, int]]) -> dict[int, str]:
        """(row, base, first copy) -> names that no other row has: the base itself (copy 1), or
        base#2, base#3, ...
        """
        renamed: dict[int, str] = {}
        taken: set[str] = set()
        copies: dict[str, int] = {}
        while waiting:
            names = []
            for _, base, first in waiting:
                copy = copies.get(base, first)
                copies[base] = copy + 1
                names.append(base if copy == 1 else f"{base}#{copy}")
            occupied = self._present(np.array([hash(name) for name in names], np.int64))
            again = []
            for (row, base, first), name, there in zip(waiting, names, occupied, strict=True):
                if there or name in taken:
                    again.append((row, base, first))
                else:
                    taken.add(name)
                    renamed[row] = name
            waiting = again
        return renamed

    def _present(self, hashes: Int64) -> list[bool]:
        found = np.zeros(hashes.size, dtype=bool)
        for part in range(_PARTS):
            mine = np.flatnonzero((hashes & (_PARTS - 1)) == part)
            if mine.size:
                found[mine] = np.isin(hashes[mine], self._part(part)[:, 0])
        return [bool(there) for there in found]

    def _part(self, part: int) -> Int64:
        path = Path(self._folder.name) / str(part)
        if not path.exists():
            return np.empty((0, 2), np.int64)
        return np.fromfile(path, dtype=np.int64).reshape(-1, 2)

    def _spill(self) -> None:
        if not self._pending:
            return
        hashes = np.array(self._pending, dtype=np.int64)
        pairs = np.stack([hashes, self._rows + np.arange(hashes.size, dtype=np.int64)], axis=1)
        self._rows += hashes.size
        self._pending = array("q")
        parts = hashes & (_PARTS - 1)
        pairs = pairs[np.argsort(parts, kind="stable")]
        bounds = np.concatenate(([0], np.cumsum(np.bincount(parts, minlength=_PARTS))))
        for part in range(_PARTS):
            block = pairs[bounds[part] : bounds[part + 1]]
            if block.size:
                with (Path(self._folder.name) / str(part)).open("ab") as file:
                    file.write(block.tobytes())


def _to_rename(
    name: str, members: list[tuple[int, str | None]], place: Callable[[int], str]
) -> list[tuple[int, str, int]]:
    """Who of the rows that share a name must take another: (row, base of the new name, first copy
    to try).
    """
    given = [row for row, second in members if second is None]
    if len(given) > 1:
        more = f" and {len(given) - 2} more" if len(given) > 2 else ""
        raise ManifestError(f"duplicate id {name!r}: {place(given[0])} and {place(given[1])}{more}")
    derived = [(row, second) for row, second in members if second is not None]
    if not given and len({second for _, second in derived}) == 1:
        return [(row, name, 2) for row, _ in derived[1:]]  # one recording, listed again
    renamed, kept = [], bool(given)
    for row, second in derived:
        if second != name:
            renamed.append((row, second, 1))
        elif kept:
            renamed.append((row, second, 2))
        kept = kept or second == name
    return renamed
