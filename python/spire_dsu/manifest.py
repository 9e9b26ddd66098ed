"""Stage 0: which recordings, under which ids. Ids name rows; they are never used as paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath


def printable(path: str | bytes | os.PathLike[str]) -> str:
    """A path as text for any terminal, JSON file or table: bytes that are no UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


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
