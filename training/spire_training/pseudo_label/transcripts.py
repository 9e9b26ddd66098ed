"""The transcripts of a corpus, and the choice among them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from spire_dsu.errors import ManifestError, Reason
from spire_dsu.shards import open_shards
from spire_training.data.hashing import hash_of
from spire_training.data.sources import read_json_lines
from spire_training.pseudo_label.settings import Transcripts


def choose(source: Transcripts, seed: int, counts: Counter[str]) -> dict[str, str]:
    """Texts by id, `limit` of them at most, in the order of a seeded hash of their ids.

    So the choice depends on neither the order of the corpus nor on what is translated elsewhere.

    Args:
        source: the corpus.
        seed: of the choice.
        counts: is told how many transcripts there are and why some are left out.

    Raises:
        ManifestError: a line lacks its id or text, or an id is there twice.
        ShardError: a shard is damaged.
    """
    best: list[tuple[int, str, str]] = []
    seen: set[str] = set()
    for name, text in _texts(source, counts):
        if name in seen:
            raise ManifestError(f"{source.path}: id {name!r} is there twice")
        seen.add(name)
        # The heap's smallest is the one to drop: hashes are negated.
        entry = (-hash_of(seed, "transcript", name), name, text)
        if len(best) < source.limit:
            heapq.heappush(best, entry)
        else:
            heapq.heappushpop(best, entry)
            counts["dropped: limit"] += 1
    counts["chosen"] = len(best)
    return {name: text for _, name, text in sorted(best, reverse=True)}


def _texts(source: Transcripts, counts: Counter[str]) -> Iterator[tuple[str, str]]:
    path = Path(source.path)
    rows = _of_shards(path, counts) if path.is_dir() else _of_lines(path)
    for name, text in rows:
        counts["transcripts"] += 1
        one_line = " ".join(text.split())  # a line break would end the prompt's field
        if one_line:
            yield name, one_line
        else:
            counts["dropped: no text"] += 1


def _of_shards(path: Path, counts: Counter[str]) -> Iterator[tuple[str, str]]:
    for row in open_shards(path):
        if row.status is Reason.OK:
            yield row.id, row.text or ""
        else:
            counts["dropped: no units"] += 1


def _of_lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, row in read_json_lines(path):
        name, text = row.get("id"), row.get("text")
        if not isinstance(name, str) or not isinstance(text, str):
            raise ManifestError(f"{path}:{number}: not a row with id and text")
        yield name, text
