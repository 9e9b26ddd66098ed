"""From a reference to what a decoder takes: the path of a file, or the bytes out of a tar or a
Parquet cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any

from spire_dsu.errors import AudioError, ManifestError, Reason
from spire_dsu.manifest.parquet import as_parquet
from spire_dsu.textio import printable
from spire_dsu.textio.lines import open_binary
from spire_dsu.types import AudioBytes, AudioCell, AudioFile, AudioRef

MAX_BYTES = 4 << 30
"""The largest recording that is taken out of a tar or a table into memory."""

_CELLS = 8


class RecordingReader:
    """Reads references; a context manager. In the order of a manifest each byte of a tar or table
    is read once.

    Not for several threads at a time: it holds one Parquet file open, at the cell after the last
    one read.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._group: tuple[str, int, str] | None = None
        self._cells: Iterator[Any] = iter(())
        self._next = 0
        self._file: IO[bytes] | None = None
        self._table: Any = None

    def __enter__(self) -> RecordingReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the table that is open."""
        if self._file is not None:
            self._file.close()
        self._file, self._table, self._group, self._cells = None, None, None, iter(())

    def read(self, reference: AudioRef) -> str | bytes:
        """The path of a recording that is a file of its own (unopened), or the bytes of one that is
        inside another.

        Raises:
            AudioError: MISSING, the file or the cell is not there; TRUNCATED, the file ends before
                the bytes do; TOO_LONG, more bytes than `max_bytes`; DECODE_ERROR, a damaged table.
        """
        if isinstance(reference, AudioFile):
            return reference.path
        if isinstance(reference, AudioBytes):
            return self._read_bytes(reference)
        return self._read_cell(reference)

    def _read_bytes(self, reference: AudioBytes) -> bytes:
        name = printable(reference.path)
        if reference.size > self._max_bytes:
            raise AudioError(Reason.TOO_LONG, f"{name}: a recording of {reference.size} bytes")
        try:
            with open(reference.path, "rb") as file:
                data = os.pread(file.fileno(), reference.size, reference.start)
                while len(data) < reference.size:  # Linux reads at most 2 GiB at a time
                    more = os.pread(
                        file.fileno(), reference.size - len(data), reference.start + len(data)
                    )
                    if not more:
                        break
                    data += more
        except (OSError, ValueError) as error:
            raise AudioError(Reason.MISSING, f"{name}: {error}") from error
        if len(data) < reference.size:
            raise AudioError(
                Reason.TRUNCATED,
                f"{name}: {len(data)} of {reference.size} bytes from byte {reference.start}",
            )
        return data

    def _read_cell(self, reference: AudioCell) -> str | bytes:
        import pyarrow as pa

        place = f"{printable(reference.path)}: row {reference.row} of group {reference.row_group}"
        try:
            cell = self._advance(reference)
        except ManifestError as error:
            raise AudioError(Reason.MISSING, str(error)) from error
        except (pa.ArrowException, OSError, StopIteration, IndexError) as error:
            self.close()
            raise AudioError(Reason.DECODE_ERROR, f"{place}: {error!r}") from error
        inside = cell.get("path") if isinstance(cell, dict) else None
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if data is not None:
            if len(data) > self._max_bytes:
                raise AudioError(Reason.TOO_LONG, f"{place}: a recording of {len(data)} bytes")
            return bytes(data)
        if inside:  # the hub's form may name a file beside the table instead
            return os.path.join(os.path.dirname(reference.path), inside)
        raise AudioError(Reason.MISSING, f"{place}: the cell is empty")

    def _advance(self, reference: AudioCell) -> Any:
        group = (reference.path, reference.row_group, reference.column)
        if group != self._group or reference.row < self._next:
            self._open(reference)
            self._group, self._next = group, 0
        while self._next < reference.row:
            next(self._cells)
            self._next += 1
        self._next += 1
        return next(self._cells).as_py()

    def _open(self, reference: AudioCell) -> None:
        if self._group is None or self._group[0] != reference.path:
            self.close()
            self._file = open_binary(reference.path)
            self._table = as_parquet(self._file, printable(reference.path))
        if not 0 <= reference.row_group < self._table.num_row_groups:
            raise IndexError(f"of {self._table.num_row_groups} row groups")
        batches = self._table.iter_batches(
            _CELLS,
            row_groups=[reference.row_group],
            columns=[reference.column],
            use_threads=False,
        )
        self._cells = (cell for batch in batches for cell in batch.column(0))
