"""What all exports share: reading rows that have units, and the note that is left beside the
files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spire_dsu.errors import Reason, SpireError
from spire_dsu.shards import Shards, UnitBatch, seal
from spire_dsu.storage import AtomicFile, write_file

FORMAT = "spire-dsu-export"


class ExportError(SpireError):
    """An export that cannot be made as asked, or one on disk that is damaged."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        files: what was written.
        rows: rows that are in it.
        left_out: rows that are not, by status.
        units: units, or tokens, in it.
    """

    files: tuple[Path, ...]
    rows: int
    left_out: dict[str, int]
    units: int


@dataclass(slots=True)
class Tally:
    """Counts while an export is written."""

    rows: int = 0
    units: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def with_units(self, shards: Shards) -> Iterator[tuple[UnitBatch, Any]]:
        """Batches, each with bool [N]: which rows have units. The others are counted as left
        out."""
        for batch in shards.batches():
            counts = batch.statuses()
            self.rows += counts.pop(Reason.OK.value, 0)
            self.left_out.update(counts)
            yield batch, batch.ok

    def exported(self, *files: Path) -> Exported:
        """The result."""
        return Exported(files, self.rows, dict(sorted(self.left_out.items())), self.units)


def note_path(path: Path) -> Path:
    """Where the note of an export stands."""
    return path.with_name(f"{path.name}.json")


def make_room(*paths: Path) -> None:
    """Makes the folder, and removes the files of an earlier export, the note first.

    New data beside an old note or index would be read as if they belonged together.
    """
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.unlink(missing_ok=True)


def write_note(
    path: Path, to: str, shards: Shards, tally: Tally, files: list[AtomicFile], **options: Any
) -> Path:
    """Writes the note: what the files hold, their digests, and what the units were made of."""
    content = {
        "format": FORMAT,
        "version": 1,
        "to": to,
        "options": options,
        "rows": tally.rows,
        "units": tally.units,
        "left_out": dict(sorted(tally.left_out.items())),
        "files": {file.path.name: {"bytes": file.size, "sha256": file.sha256} for file in files},
        "manifest": hashlib.sha256(shards.manifest.to_bytes()).hexdigest(),
        "fingerprint": shards.manifest.fingerprint,
    }
    write_file(note_path(path), seal(content))
    return note_path(path)


def check_digest(path: Path, size: int, sha256: str) -> None:
    """Reads a file back.

    Raises:
        ExportError: its bytes are not those that were written.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            found = file.tell()
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror}") from error
    if (found, digest.hexdigest()) != (size, sha256):
        raise ExportError(f"{path}: its {found} bytes are not the {size} that were written")
