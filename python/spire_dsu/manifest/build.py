"""From a form's reader to a file of rows: one pass, ids made unique, everything that was read noted
down.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from spire_dsu.errors import ManifestError
from spire_dsu.manifest.codec import Row, encode, named, source_of
from spire_dsu.manifest.folder import BUILD_PREFIX, has_audio_name
from spire_dsu.manifest.ids import Named, UniqueIds
from spire_dsu.manifest.row_file import BLOCK_ROWS, RowFile, RowFileWriter
from spire_dsu.textio import Note, printable
from spire_dsu.types import Int64

FILE_NAME = "manifest.rows"

Facts = dict[str, Any]
Progress = Callable[[int], None]


def reusable(path: Path, facts: Facts) -> bool:
    """Whether a file of rows was made from the same request, and nothing that it was read from
    changed since.
    """
    if not path.is_file():
        return False
    try:
        file = RowFile(path)
        if any(file.facts.get(key) != value for key, value in facts.items()):
            return False
        return all(_stamp(note[0], path.parent) == note for note in file.notes())
    except ManifestError:
        return False  # torn or damaged: it is made again


def build(
    read: Callable[[Note], Iterable[Row]],
    folder: Path,
    facts: Facts,
    progress: Progress | None = None,
    *,
    durable: bool = True,
) -> Path:
    """Reads all rows into `folder` / FILE_NAME, which appears when it is whole.

    Args:
        read: yields the rows; tells what files and folders it reads.
        folder: where the file goes; what killed builds left there is removed.
        facts: the request, kept in the file; "base" is the folder of relative paths.
        progress: called with the number of rows so far.
        durable: the file survives a power cut.

    Raises:
        ManifestError: no row, a duplicate id, a file that changed meanwhile, or whatever the reader
            finds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    workshop = Path(tempfile.mkdtemp(prefix=BUILD_PREFIX, dir=folder))
    try:
        with (workshop / "lock").open("w") as lock:
            _lock(lock.fileno())
            writer = RowFileWriter(workshop / FILE_NAME)
            try:
                with UniqueIds(workshop) as ids, _Inputs(workshop, folder) as inputs:
                    _write(read, writer, ids, inputs, facts, progress, durable)
            finally:
                writer.close()
            final = folder / FILE_NAME
            writer.path.replace(final)
            if durable:
                _sync(folder)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return final


def remove_abandoned(folder: Path) -> None:
    """Removes what builds left that were killed: their lock is free."""
    for workshop in folder.glob(f"{BUILD_PREFIX}*"):
        with contextlib.suppress(OSError), (workshop / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(workshop, ignore_errors=True)


def _write(
    read: Callable[[Note], Iterable[Row]],
    writer: RowFileWriter,
    ids: UniqueIds,
    inputs: _Inputs,
    facts: Facts,
    progress: Progress | None,
    durable: bool,
) -> None:
    base = facts["base"].rstrip("/") + "/"
    for row in read(inputs.note):
        if not row.utterance.id:
            name = f"row-{writer.count + 1}"
            row = Row(replace(row.utterance, id=name), name)
        ids.add(row.utterance.id)
        writer.add(encode(row, base))
        if progress is not None and writer.count % BLOCK_ROWS == 0:
            progress(writer.count)
    if not writer.count:
        raise ManifestError(f"{facts['path']}: no recording in it")
    writer.end_rows()

    def fetch(rows: Int64) -> Iterator[Named]:
        for number, values in _pick(writer, rows):
            yield number, *named(values)

    def place(row: int) -> str:
        values = next(writer.read_back(row, row + 1))
        return f"row {row + 1} ({source_of(values)})"

    renamed = ids.resolve(fetch, place)
    for note in inputs.notes():
        writer.add_note(note)
    writer.finish(facts, {"renamed": sorted(renamed.items())}, durable=durable)


def _pick(writer: RowFileWriter, rows: Int64) -> Iterator[tuple[int, list[Any]]]:
    """The rows of these numbers, ascending, each block read once."""
    numbers = iter(rows.tolist())
    number = next(numbers, None)
    while number is not None:
        first = number // BLOCK_ROWS * BLOCK_ROWS
        block = list(writer.read_back(first, min(first + BLOCK_ROWS, writer.count)))
        while number is not None and number < first + BLOCK_ROWS:
            yield number, block[number - first]
            number = next(numbers, None)


class _Inputs:
    """What rows are read from, with sizes and times, in a temporary file; a context manager.

    `work` is the folder that the rows are written to.
    """

    def __init__(self, workshop: Path, work: Path) -> None:
        self._file = tempfile.TemporaryFile("w+", dir=workshop, encoding="ascii")  # noqa: SIM115
        self._work = work
        self._last = ""

    def __enter__(self) -> _Inputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(self, path: str | os.PathLike[str]) -> None:
        """Notes a file or folder that is about to be read."""
        name = os.path.abspath(path)
        if name != self._last:
            self._last = name
            self._file.write(json.dumps(_stamp(name, self._work)) + "\n")

    def notes(self) -> Iterator[list[Any]]:
        """All notes; refuses a file that changed while it was read (a folder may get new files)."""
        self._file.seek(0)
        for line in self._file:
            stamp = json.loads(line)
            if stamp[1] is not None and _stamp(stamp[0], self._work) != stamp:
                raise ManifestError(f"{printable(stamp[0])}: changed while it was read")
            yield stamp


def _stamp(path: str, work: Path) -> list[Any]:
    """[path, bytes of a file, time of the last change in ns]; what changes when the input does.

    Where the output lies among the recordings its folder changes all the time; of such a folder
    its recordings and its folders count.
    """
    try:
        facts = os.stat(path)
        if not os.path.isdir(path):
            return [path, facts.st_size, facts.st_mtime_ns]
        if not (path.rstrip("/") + "/").startswith(os.path.abspath(work) + "/"):
            return [path, None, facts.st_mtime_ns]
        with os.scandir(path) as found:
            kept = sorted(
                entry.name
                for entry in found
                if has_audio_name(entry.name) or (entry.is_dir() and entry.name[0] != ".")
            )
        return [path, None, hashlib.sha256(json.dumps(kept).encode()).hexdigest()]
    except OSError:
        return [path, None, None]


def _lock(descriptor: int) -> None:
    # Where the file system has no locks, what a killed build leaves stays; nothing else depends on
    # it.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
