"""A manifest, whatever its form was: a number of rows, each of which can be had at once."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

from spire_dsu.errors import ManifestError
from spire_dsu.manifest.codec import decode
from spire_dsu.manifest.row_file import RowFile
from spire_dsu.types import Utterance


class Manifest:
    """The rows of a manifest in their order, checked, with unique ids.

    Takes some hundred KB of memory whatever the number of rows: they stay in a file, from which
    `rows` reads what is asked for. To hand a slice to another process, pickle the manifest (which
    is its file's path) and two numbers.

    Attributes:
        digest: SHA-256 of all that the rows say, paths as they are written in the manifest; the
            recordings themselves are not in it, and neither is where the manifest lies.
        base: the folder that relative paths start from.
        form: "folder", "tsv", "jsonl", "kaldi", "lhotse", "shar", "parquet", "webdataset" or
            "corpus".
    """

    def __init__(self, path: str | Path, *, temporary: Path | None = None) -> None:
        self._file = RowFile(Path(path))
        self.digest = self._file.digest
        self.base: str = self._file.facts["base"]
        self.form: str = self._file.facts["form"]
        self._renamed: dict[int, str] = dict(self._file.facts["renamed"])
        self._close = None
        if temporary is not None:
            self._close = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)

    @property
    def path(self) -> Path:
        """The file that holds the rows."""
        return self._file.path

    def __len__(self) -> int:
        return self._file.count

    def __iter__(self) -> Iterator[Utterance]:
        return self.rows(0, len(self))

    def __reduce__(self) -> tuple[type[Manifest], tuple[str]]:
        return Manifest, (str(self._file.path),)

    def __repr__(self) -> str:
        return f"Manifest({self.form}, {len(self)} rows, {self.base!r}, {self.digest[:12]})"

    def rows(self, start: int, stop: int) -> Iterator[Utterance]:
        """Rows [start, stop), counted from 0; what is before them is not read.

        Raises:
            ManifestError: the range is not inside of the manifest, or the file of rows is damaged.
        """
        if not 0 <= start <= stop <= len(self):
            raise ManifestError(f"rows {start} to {stop} of a manifest of {len(self)}")
        for row, values in enumerate(self._file.rows(start, stop), start):
            yield decode(values, self.base, self._renamed.get(row))

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the file of rows if `open_manifest` made it for this object alone."""
        if self._close is not None:
            self._close()
