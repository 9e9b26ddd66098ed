"""Stage 5: units -> Parquet shards, and back. The same rows always make the same bytes.

A shard holds the rows [k*R, (k+1)*R) of the manifest in their order, one per utterance, with units
or with the reason why there are none. `manifest.json`, written last, lists the shards with their
digests; a reader trusts only what it lists and checks every byte before it yields a row. Any
Parquet reader takes the files as they are.
"""

from __future__ import annotations

from spire_dsu.shards.listing import (
    MANIFEST,
    OutputManifest,
    ShardInfo,
    num_clusters,
    seal,
    shard_name,
    totals,
    unseal,
    writer_facts,
)
from spire_dsu.shards.reader import Shards, open_shards, parse_shard, read_shard
from spire_dsu.shards.rows import SCHEMA, ShardError, UnitBatch
from spire_dsu.shards.writer import write_shard

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "OutputManifest",
    "ShardError",
    "ShardInfo",
    "Shards",
    "UnitBatch",
    "num_clusters",
    "open_shards",
    "parse_shard",
    "read_shard",
    "seal",
    "shard_name",
    "totals",
    "unseal",
    "write_shard",
    "writer_facts",
]
