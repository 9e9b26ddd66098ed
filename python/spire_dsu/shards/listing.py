"""What is known of the shards of a conversion: their digests and sums, and `manifest.json`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, JsonValue, ValidationError

from spire_dsu.config import Config
from spire_dsu.shards.rows import ShardError
from spire_dsu.types import SAMPLING_RATE

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
METADATA_KEY = b"spire_dsu"
MAX_CLUSTERS = 1 << 16


class ShardInfo(Config):
    """What is known of one committed shard; a line of the journal, an entry of `manifest.json`.

    Attributes:
        index: k; the shard holds rows from k * rows_per_shard on.
        file: its name in the output folder.
        sha256: digest of its bytes.
        bytes: how many they are.
        rows: utterances, with and without units.
        counts: rows by status; the sum is `rows`.
        samples: samples at 16 kHz of the rows that are ok.
        frames: frames of 20 ms in all rows.
        units: units in all rows, runs merged.
    """

    index: int = Field(ge=0)
    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    rows: int = Field(ge=1)
    counts: dict[str, int]
    samples: int = Field(ge=0)
    frames: int = Field(ge=0)
    units: int = Field(ge=0)

    @property
    def hours(self) -> float:
        """Hours of audio that have units."""
        return self.samples / SAMPLING_RATE / 3600


class OutputManifest(Config):
    """`manifest.json`: the list of all shards, written when nothing is left to do.

    Attributes:
        fingerprint: all that decided the bytes: model, codebook, settings, input, library versions.
        num_rows: rows of the input manifest.
        rows_per_shard: rows of every shard but the last, which may have fewer.
        shards: in order.
    """

    format: Literal["spire-dsu-units"] = "spire-dsu-units"
    version: Literal[1] = 1
    fingerprint: dict[str, JsonValue]
    num_rows: int = Field(ge=0)
    rows_per_shard: int = Field(ge=1)
    shards: tuple[ShardInfo, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no times, and a digest of all the rest."""
        return seal({**self.model_dump(mode="json"), "totals": totals(self.shards)})

    @classmethod
    def from_bytes(cls, data: bytes) -> OutputManifest:
        """Reads and checks `manifest.json`.

        Raises:
            ShardError: it is damaged, was changed by hand, or its shards are not the rows 0 to
                `num_rows`.
        """
        try:
            content = unseal(data)
            sums = content.pop("totals", None)
            manifest = cls.model_validate_json(json.dumps(content))
        except ValueError as error:
            raise ShardError(f"{MANIFEST} is damaged: {first_line(error)}") from error
        if sums != totals(manifest.shards):
            raise ShardError(f"{MANIFEST}: its totals are not those of its shards")
        for k, shard in enumerate(manifest.shards):
            rows = min(manifest.rows_per_shard, manifest.num_rows - k * manifest.rows_per_shard)
            if (shard.index, shard.file, shard.rows) != (k, shard_name(k), rows):
                raise ShardError(
                    f"{MANIFEST}: entry {k} is {shard.file} with {shard.rows} rows, not {rows}"
                )
        if sum(shard.rows for shard in manifest.shards) != manifest.num_rows:
            raise ShardError(f"{MANIFEST}: its shards do not add up to {manifest.num_rows} rows")
        return manifest


def totals(shards: Iterable[ShardInfo]) -> dict[str, Any]:
    """Sums over shards: rows, counts by status, samples, frames, units, bytes."""
    counts: Counter[str] = Counter()
    sums = dict.fromkeys(("rows", "samples", "frames", "units", "bytes"), 0)
    for shard in shards:
        counts.update(shard.counts)
        for name in sums:
            sums[name] += getattr(shard, name)
    return {**sums, "counts": dict(sorted(counts.items()))}


def shard_name(index: int) -> str:
    """The file name of shard `index`."""
    return f"units-{index:05d}.parquet"


def writer_facts() -> dict[str, JsonValue]:
    """What in this library decides the bytes of a shard: part of every fingerprint."""
    return {"shard_format": FORMAT_VERSION, "shard_writer": f"pyarrow {pa.__version__}"}


def num_clusters(fingerprint: Mapping[str, Any]) -> int:
    """K, the number of units that the fingerprint's codebook has.

    Raises:
        ShardError: the fingerprint has no `num_clusters` from 1 to 65,536.
    """
    value = fingerprint.get("num_clusters")
    if type(value) is not int or not 1 <= value <= MAX_CLUSTERS:
        raise ShardError(
            f"num_clusters must be 1 to {MAX_CLUSTERS} in the fingerprint, not {value!r}"
        )
    return value


def provenance(index: int, fingerprint: Mapping[str, JsonValue]) -> dict[str, Any]:
    """What a shard's own metadata says: a file that lost its folder still tells what made it."""
    return {"version": FORMAT_VERSION, "shard": index, "fingerprint": dict(fingerprint)}


def canonical(content: Any) -> bytes:
    """JSON with one spelling only, so that equal contents are equal bytes."""
    text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False)
    return text.encode() + b"\n"


def seal(content: dict[str, Any]) -> bytes:
    """Canonical JSON with a digest of itself, under the key `digest`."""
    return canonical({**content, "digest": hashlib.sha256(canonical(content)).hexdigest()})


def unseal(data: bytes) -> dict[str, Any]:
    """The content of what `seal` made.

    Raises:
        ValueError: a byte is not as it was.
    """
    try:
        content: dict[str, Any] = json.loads(data)
        del content["digest"]
        intact = seal(content) == data
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(first_line(error)) from error
    if not intact:
        raise ValueError("its content does not fit its digest")
    return content


def first_line(error: BaseException) -> str:
    """One line of an error's text, for a message."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return (str(error) or type(error).__name__).splitlines()[0]
