"""Stages 0 to 5 over a whole manifest: the bulk job.

    manifest rows -> decoded ahead -> units -> a shard -> a line in the journal

Shard k is rows [k*R, (k+1)*R) of the manifest, whoever makes it. A `ShardWorker` makes whole shards
and knows nothing of other workers; an engine hands out numbers of shards and brings back what is to
be committed; `journal` alone knows what is done. So the output has the same bytes for any number of
workers, either engine, and any interruptions.

    run.py         `convert`, from a manifest to a summary
    engine.py      hands out shards       local.py, cluster.py   by processes, by Ray's actors
    service.py     requests and answers, and the process of a local worker
    worker.py      rows of a shard -> a Parquet file
    feed.py        decoding, ahead        recordings.py          one recording, whole or in pieces
    packs.py       the encoder, within what memory there is
    progress.py    what is shown          signals.py             what ends it early
"""

from spire_dsu.convert.job import Interrupted, WorkersDied
from spire_dsu.convert.progress import Summary
from spire_dsu.convert.run import convert, main

__all__ = ["Interrupted", "Summary", "WorkersDied", "convert", "main"]
