"""A folder of recordings: every audio file in it and below, in the order of the bytes of their
paths.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator

from spire_dsu.errors import ManifestError
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.ids import names_of
from spire_dsu.textio import Note, printable, utterance
from spire_dsu.types import AudioFile

AUDIO_EXTENSIONS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".m4a", ".mp4", ".aac", ".webm", ".mka"),
    *(".aif", ".aiff", ".au", ".snd", ".sph", ".w64", ".rf64"),
)


BUILD_PREFIX = ".manifest-build-"
"""Our own folder, in which a manifest's rows are being written; never an input."""


Wanted = Callable[[str], bool]


def has_audio_name(name: str) -> bool:
    """Whether a file is taken for a recording, by its extension alone; a file named ".flac" is."""
    return name.lower().endswith(AUDIO_EXTENSIONS)


def read_folder(path: str, note: Note) -> Iterator[Row]:
    """One row per file with an audio extension, links followed, hidden files included.

    What only looks like a recording (a pipe, a broken link) is a row, too, so that its reason is
    reported. Memory grows with the largest single folder, not with the number of files.

    Raises:
        ManifestError: a folder cannot be listed.
    """
    for folder, names in _walk(path, note, has_audio_name):
        prefix = folder[len(path.rstrip("/")) + 1 :]
        inner = [f"{prefix}/{name}" if prefix else name for name in names]
        pairs = [names_of(name) for name in inner]
        twins = Counter(stem for stem, _ in pairs)
        for name, relative, (stem, full) in zip(names, inner, pairs, strict=True):
            # Where two files differ only in their extension, both keep it: seen here, while both
            # are at hand.
            name_of_row = stem if twins[stem] == 1 else full
            item = utterance(
                name_of_row, AudioFile(os.path.join(folder, name)), source=printable(relative)
            )
            yield Row(item, full)


def files_below(path: str, extension: str, note: Note) -> list[str]:
    """The files with an extension in a folder and below, in the order of the bytes of their paths.

    Raises:
        ManifestError: a folder cannot be listed.
    """
    runs = _walk(path, note, lambda name: name.lower().endswith(extension))
    return [os.path.join(folder, name) for folder, names in runs for name in names]


def _walk(top: str, note: Note, wanted: Wanted) -> Iterator[tuple[str, list[str]]]:
    """(folder, a run of its wanted files): all runs together are sorted by the bytes of the whole
    path.
    """
    # Each level of the stack is a folder's entries that are still to come, and the folders that
    # lead to it.
    stack = [(top, _entries(top, note, wanted), frozenset({_identity(top)}))]
    while stack:
        folder, entries, above = stack[-1]
        run: list[str] = []
        inner = None
        while entries and inner is None:
            name, is_folder = entries.pop()
            if is_folder:
                inner = os.path.join(folder, name)
            else:
                run.append(name)
        if run:
            yield folder, run
        if inner is not None:
            identity = _identity(inner)
            if identity not in above:  # a link to a folder above would be walked without end
                stack.append((inner, _entries(inner, note, wanted), above | {identity}))
        elif not entries:
            stack.pop()


def _entries(folder: str, note: Note, wanted: Wanted) -> list[tuple[str, bool]]:
    """(name, is a folder) of wanted files and of folders, the first one last."""
    note(folder)
    try:
        with os.scandir(folder) as found:
            entries = [
                (entry.name, is_folder)
                for entry in found
                if (is_folder := _is_folder(entry)) or wanted(entry.name)
                if not entry.name.startswith(BUILD_PREFIX)
            ]
    except OSError as error:
        raise ManifestError(f"{printable(folder)}: cannot be listed: {error}") from error
    entries.sort(key=lambda e: os.fsencode(e[0]) + (b"/" if e[1] else b""), reverse=True)
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or in a circle
        return False


def _identity(folder: str) -> tuple[int, int]:
    try:
        facts = os.stat(folder)
    except OSError as error:
        raise ManifestError(f"{printable(folder)}: cannot be listed: {error}") from error
    return facts.st_dev, facts.st_ino
