"""A finished conversion -> rows. Every byte is checked before a row is yielded."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from spire_dsu.shards.listing import (
    MANIFEST,
    METADATA_KEY,
    OutputManifest,
    ShardInfo,
    canonical,
    first_line,
    num_clusters,
    provenance,
)
from spire_dsu.shards.rows import SCHEMA, ShardError, UnitBatch, check
from spire_dsu.storage import DISK, Storage
from spire_dsu.types import UnitRow


@contextlib.contextmanager
def _documented(name: str) -> Iterator[None]:
    """Turns whatever the Parquet reader raises on bad bytes into a `ShardError` with the name."""
    try:
        yield
    except ShardError:
        raise
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        LookupError,
        ArithmeticError,
        MemoryError,
    ) as error:
        raise ShardError(f"{name}: not a readable shard: {first_line(error)}") from error


def parse_shard(
    data: bytes, info: ShardInfo, fingerprint: Mapping[str, JsonValue]
) -> Iterator[UnitBatch]:
    """The rows of a shard's bytes, batch by batch, each checked before it is yielded.

    Raises:
        ShardError: the bytes are no shard, another one, of another conversion, or a row contradicts
            itself.
    """
    name, clusters = info.file, num_clusters(fingerprint)
    with _documented(name):
        limit = max(1 << 16, len(data))
        file = pq.ParquetFile(
            pa.BufferReader(data), page_checksum_verification=True, thrift_string_size_limit=limit
        )
        if not file.schema_arrow.equals(SCHEMA, check_metadata=False):
            raise ShardError(f"{name}: has other columns than a shard")
        found = (file.metadata.metadata or {}).get(METADATA_KEY)
        if found != canonical(provenance(info.index, fingerprint)):
            raise ShardError(
                f"{name}: belongs to another conversion, or to another place in this one"
            )
        if file.metadata.num_rows != info.rows:
            raise ShardError(f"{name}: holds {file.metadata.num_rows} rows, not {info.rows}")
    rows = units = frames = 0
    for group in range(file.num_row_groups):
        with _documented(name):
            tables = file.read_row_group(group, use_threads=False).combine_chunks().to_batches()
            for table in tables:
                table.validate(full=True)
        for table in tables:
            batch = check(table, info.index, clusters, name)
            rows, units = rows + len(batch), units + batch.units.size
            frames += int(batch.durations.sum(dtype=np.int64))
            yield batch
    if (rows, units, frames) != (info.rows, info.units, info.frames):
        raise ShardError(f"{name}: its rows, units or frames are not those that are listed for it")


def read_shard(
    folder: Path, info: ShardInfo, fingerprint: Mapping[str, JsonValue], storage: Storage = DISK
) -> Iterator[UnitBatch]:
    """The rows of a shard on disk, once its bytes are known to be those that were committed.

    Raises:
        ShardError: they are not, cannot be read, or a row contradicts itself.
    """
    with _documented(info.file):
        data = storage.read(folder / info.file)
    if len(data) != info.bytes or hashlib.sha256(data).hexdigest() != info.sha256:
        raise ShardError(f"{info.file}: damaged: its bytes are not those that were committed")
    yield from parse_shard(data, info, fingerprint)


@dataclass(frozen=True, slots=True)
class Shards:
    """The rows of a finished conversion; every byte is checked before a row is yielded.

    Attributes:
        folder: the output folder.
        manifest: what it holds.
    """

    folder: Path
    manifest: OutputManifest
    storage: Storage = DISK

    def __len__(self) -> int:
        return self.manifest.num_rows

    def __iter__(self) -> Iterator[UnitRow]:
        for batch in self.batches():
            yield from batch.rows()

    @property
    def num_clusters(self) -> int:
        """K: every unit is below it."""
        return num_clusters(self.manifest.fingerprint)

    def batches(self, shards: Iterable[int] | None = None) -> Iterator[UnitBatch]:
        """The rows in batches, shard after shard; one shard at a time is in memory.

        Args:
            shards: numbers of the shards to read, for loaders that divide them; all by default.

        Raises:
            ShardError: a shard is missing or damaged; the text names it. No row of it has been
                yielded then, unless its bytes are those that were committed.
        """
        for k in range(len(self.manifest.shards)) if shards is None else shards:
            info = self.manifest.shards[k]
            yield from read_shard(self.folder, info, self.manifest.fingerprint, self.storage)


def open_shards(folder: str | os.PathLike[str], *, storage: Storage = DISK) -> Shards:
    """Opens the output folder of a finished conversion.

    Args:
        folder: what `spire-dsu convert` wrote.
        storage: the calls to use.

    Raises:
        ShardError: there is no `manifest.json` (the conversion is not finished), or it is damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        data = storage.read(path)
    except OSError as error:
        raise ShardError(f"{path}: {error.strerror}; is the conversion finished?") from error
    return Shards(Path(folder), OutputManifest.from_bytes(data), storage)
