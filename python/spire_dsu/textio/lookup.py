"""A table from keys to text on the disk: lists are joined without any of them in memory."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from spire_dsu.errors import ManifestError


class Lookup:
    """key -> (line number, value), kept in a temporary file of sqlite's; a context manager.

    Args:
        pairs: (line number, key, value) as `read_pairs` yields them.
        name: the file that they come from, for messages.

    Raises:
        ManifestError: a key stands there twice; both lines are named.
    """

    def __init__(self, pairs: Iterable[tuple[int, str, str]], name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="spire-dsu-lookup-")
        self._table = sqlite3.connect(Path(self._folder.name) / "lookup.sqlite")
        # The file dies with this object, so nothing is written for the sake of a crash.
        self._table.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16000;"
            "CREATE TABLE pairs (key BLOB PRIMARY KEY, line INTEGER, value BLOB) WITHOUT ROWID;"
        )
        insert = "INSERT INTO pairs VALUES (?, ?, ?)"
        try:
            for line, key, value in pairs:
                try:
                    self._table.execute(insert, (_pack(key), line, _pack(value)))
                except sqlite3.IntegrityError as error:
                    first = self._find(key)
                    raise ManifestError(
                        f"{name}: lines {first[0] if first else '?'} and {line} are both {key!r}"
                    ) from error
        except BaseException:
            self.close()
            raise

    def get(self, key: str) -> str | None:
        """The value, or None."""
        found = self._find(key)
        return None if found is None else found[1]

    def _find(self, key: str) -> tuple[int, str] | None:
        query = "SELECT line, value FROM pairs WHERE key = ?"
        found = self._table.execute(query, (_pack(key),)).fetchone()
        return None if found is None else (found[0], found[1].decode("utf-8", "surrogatepass"))

    def close(self) -> None:
        """Removes the table."""
        self._table.close()
        self._folder.cleanup()

    def __enter__(self) -> Lookup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _pack(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
