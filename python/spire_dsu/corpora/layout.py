"""What the readers of the corpora share: where things are below the root, and how a row names its
recording.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

from spire_dsu.errors import ManifestError
from spire_dsu.textio import printable
from spire_dsu.types import AudioFile


class Place(TypedDict):
    """The arguments of `utterance` that say where the recording is."""

    audio: AudioFile
    source: str


def at(root: str | Path, path: str | Path) -> Place:
    """A recording by its path; its source is the path below `root`, so it does not depend on where
    the corpus lies.
    """
    full = os.path.abspath(path)
    inside = full.removeprefix(os.path.abspath(root).rstrip("/") + "/")
    return {"audio": AudioFile(full), "source": printable(inside)}


def folder_in(root: str | Path, *names: str) -> Path:
    """A folder below the root that must be there.

    Raises:
        ManifestError: it is not; says what is there instead.
    """
    folder = Path(root, *names)
    if not folder.is_dir():
        above = folder.parent
        there = ", ".join(sorted(os.listdir(above))[:20]) if above.is_dir() else "nothing"
        raise ManifestError(f"{printable(folder)}: no such folder; {printable(above)} has {there}")
    return folder


def first_of(*candidates: Path) -> Path:
    """The first path that is there.

    Raises:
        ManifestError: none is; names them all.
    """
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise ManifestError(f"none of these is there: {', '.join(printable(c) for c in candidates)}")


def sorted_names(folder: Path) -> list[str]:
    """The folders in a folder, sorted by their bytes."""
    with os.scandir(folder) as found:
        return sorted((entry.name for entry in found if entry.is_dir()), key=os.fsencode)


def check_split(split: str, known: tuple[str, ...], corpus: str) -> str:
    """The split, if it is one of the corpus's.

    Raises:
        ManifestError: it is not.
    """
    if split not in known:
        raise ManifestError(f"{corpus} has no split {split!r}: {', '.join(known)}")
    return split


def extras(**values: str | None) -> tuple[tuple[str, str], ...]:
    """Further columns that are there and not empty."""
    return tuple((name, value) for name, value in values.items() if value)
