"""Lhotse Shar: one tar of units per tar of cuts, so that a loader gets units with each cut.

The layout is Lhotse's (lhotse/shar/writers/array.py): for each cut, in the cuts' order, a .npy and
a .json that describes it, or an empty .nodata and .nometa where the cut has no units.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from spire_dsu.errors import Reason
from spire_dsu.export.common import Exported, ExportError, Tally
from spire_dsu.shards import Shards, open_shards
from spire_dsu.storage import AtomicFile
from spire_dsu.types import FRAME_SECONDS, SAMPLING_RATE, UnitRow

_CUTS = re.compile(r"cuts\.(\d+)\.jsonl(\.gz)?")


def export_shar(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    cuts: str | os.PathLike[str] | None = None,
    field: str = "units",
    frames: bool = False,
) -> Exported:
    """Writes FIELD.000000.tar, ... for Lhotse Shar.

    Args:
        folder: a finished conversion.
        out: where the tars go; it may be the folder of the cuts, and is made when absent.
        cuts: the Shar folder that the conversion was made from, with its cuts in the same order:
            the tars then go with its shards, one entry for each cut. None: cuts of their own are
            written beside the units, one Shar shard per shard of the conversion, without audio;
            rows without units are left out.
        field: the name that the cuts' attribute gets. The durations of merged units, in frames of
            20 ms, become FIELD_durations.
        frames: one unit per frame, as a temporal array that Lhotse cuts along with the audio, and
            no durations.

    Raises:
        ExportError: the cuts are not those of the conversion, or an id cannot name a tar entry.
        ShardError: the conversion is not finished or damaged.
        OSError: the disk failed.
    """
    if not field.isidentifier() or field == "cuts":
        raise ExportError(f"{field!r} cannot be the name of a field of a cut")
    shards, tally, out = open_shards(folder), Tally(), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    parts = _own_parts(shards, tally) if cuts is None else _parts_of(Path(cuts), shards, tally)
    names = [field] if frames else [field, f"{field}_durations"]
    files: list[Path] = []
    try:
        for number, rows in parts:
            with contextlib.ExitStack() as stack:
                tars = [stack.enter_context(_Tar(out / f"{name}.{number}.tar")) for name in names]
                own_cuts = stack.enter_context(_Cuts(out, number)) if cuts is None else None
                for row in rows:
                    if own_cuts is not None:
                        own_cuts.add(row)
                    _add(tars, row, frames)
                    tally.units += sum(row.durations.tolist()) if frames else len(row.units)
            files += [tar.path for tar in tars] + ([own_cuts.path] if own_cuts else [])
    except BaseException:
        for path in files:  # half of a Shar folder reads like a whole one
            path.unlink(missing_ok=True)
        raise
    return tally.exported(*files)


def _own_parts(shards: Shards, tally: Tally) -> Iterator[tuple[str, Iterator[UnitRow]]]:
    def rows(shard: int) -> Iterator[UnitRow]:
        for batch in shards.batches([shard]):
            for row in batch.rows():
                if row.status is Reason.OK:
                    tally.rows += 1
                    yield row
                else:
                    tally.left_out[str(row.status)] += 1

    for shard in range(len(shards.manifest.shards)):
        yield f"{shard:06d}", rows(shard)


def _parts_of(
    folder: Path, shards: Shards, tally: Tally
) -> Iterator[tuple[str, Iterator[UnitRow]]]:
    """The rows that go with each file of cuts; they must be the cuts' own, in their order."""
    found = sorted(path for path in folder.iterdir() if _CUTS.fullmatch(path.name))
    if not found:
        raise ExportError(f"{folder}: no cuts.*.jsonl or cuts.*.jsonl.gz")
    rows = iter(shards)

    def of(path: Path) -> Iterator[UnitRow]:
        for line, cut in enumerate(_cut_ids(path), 1):
            row = next(rows, None)
            if row is None or row.id != cut:
                other = "nothing" if row is None else repr(row.id)
                raise ExportError(f"{path}:{line}: cut {cut!r}, but the conversion has {other}")
            tally.rows += 1
            yield row

    for path in found:
        yield path.name.split(".")[1], of(path)
    if (left := next(rows, None)) is not None:
        raise ExportError(f"{folder}: no cut for row {left.id!r}")


def _cut_ids(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                yield str(json.loads(line)["id"])
    except (ValueError, LookupError, TypeError, EOFError, gzip.BadGzipFile) as error:
        raise ExportError(f"{path}: not cuts, one JSON object per line: {error}") from error


def _add(tars: list[_Tar], row: UnitRow, frames: bool) -> None:
    if row.status is not Reason.OK:
        for tar in tars:
            tar.add(row.id, None)
    elif frames:
        tars[0].add(row.id, np.repeat(row.units, row.durations), temporal=True)
    else:
        tars[0].add(row.id, row.units)
        tars[1].add(row.id, row.durations)


class _Tar:
    """A tar of arrays that is the same for the same arrays: no times, no owners."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = AtomicFile(path)

    def __enter__(self) -> _Tar:
        self._file.__enter__()
        self._tar = tarfile.open(fileobj=self._file, mode="w|", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(self, *exception: Any) -> None:
        try:
            if exception[0] is None:
                self._tar.close()
        finally:
            self._file.__exit__(*exception)

    def add(self, key: str, array: Any, *, temporal: bool = False) -> None:
        """Adds one cut's array, or that it has none."""
        clean = str(PurePosixPath(f"{key}.npy").with_suffix(""))
        if clean != key or key.startswith("/") or ".." in PurePosixPath(key).parts or "\0" in key:
            raise ExportError(f"id {key!r} cannot name an entry of a tar")
        if array is None:
            self._member(f"{key}.nodata", b"")
            self._member(f"{key}.nometa", b"")
            return
        data = io.BytesIO()
        np.save(data, array, allow_pickle=False)
        self._member(f"{key}.npy", data.getvalue())
        about: dict[str, Any] = {
            "storage_type": "shar",
            "storage_path": "",
            "storage_key": "",
            "shape": list(array.shape),
        }
        if temporal:
            about = {"array": about, "temporal_dim": 0, "frame_shift": FRAME_SECONDS, "start": 0}
        self._member(f"{key}.json", json.dumps(about).encode() + b"\n")

    def _member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))


class _Cuts:
    """Cuts without audio, for units that came from elsewhere than Lhotse."""

    def __init__(self, out: Path, number: str) -> None:
        self.path = out / f"cuts.{number}.jsonl.gz"
        self._file = AtomicFile(self.path)

    def __enter__(self) -> _Cuts:
        self._file.__enter__()
        self._gzip = gzip.GzipFile("", "wb", 6, self._file, mtime=0)
        return self

    def __exit__(self, *exception: Any) -> None:
        try:
            self._gzip.close()
        finally:
            self._file.__exit__(*exception)

    def add(self, row: UnitRow) -> None:
        """Adds the cut of a row."""
        span = {"start": 0.0, "duration": row.num_samples / SAMPLING_RATE, "channel": 0}
        words = {"text": row.text, "language": row.lang, "speaker": row.speaker}
        supervision = {"id": row.id, "recording_id": row.id, **span, **words}
        cut = {"id": row.id, **span, "supervisions": [supervision], "type": "MonoCut"}
        self._gzip.write(json.dumps(cut, ensure_ascii=False).encode() + b"\n")
