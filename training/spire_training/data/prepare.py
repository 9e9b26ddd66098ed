"""From shards and texts to a packed folder: select, render, choose, shuffle, pack, verify.

Documents are rendered once and spilled to disk by a random key; then it is known what there is, the
budgets are divided, and a second reading in the order of the keys packs what is taken. Memory holds
a bucket and the open rows, whatever the size of the data. Nothing is called finished before every
file was read again; a run that was killed starts anew.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.config import fingerprint
from spire_dsu.errors import ConfigError
from spire_dsu.files import sha256_of_file
from spire_dsu.llm.vocabulary import VocabularyError
from spire_dsu.shards import MANIFEST as SHARDS_MANIFEST
from spire_dsu.shards import ShardError, open_shards
from spire_dsu.verify import verify
from spire_training.data import mixture
from spire_training.data.hashing import SPAN, hash_of, next_hash
from spire_training.data.packed import (
    KIND,
    KINDS,
    MANIFEST,
    SPLITS,
    PackedRows,
    RowWriter,
    Split,
    read_manifest,
    token_type,
    write_manifest,
)
from spire_training.data.packing import BestFit
from spire_training.data.rendering import Made, Maker, Pool, documents_of
from spire_training.data.settings import PrepareConfig, SpeechSource
from spire_training.data.sources import Counts, files_of, items_of
from spire_training.data.spill import Entry, Spill

log = logging.getLogger("spire_dsu")

_SCRATCH = ".prepare"
_MEANING = (
    "num_clusters",
    "codebook",
    "encoder",
    "layer",
    "normalize_eps",
    "chunking",
    "precision",
)
"""What must be the same in the fingerprints of all conversions, for unit 7 to be one sound. Other
entries (the recordings, the machine, versions of libraries) may differ."""


@dataclass
class Stream:
    """What is known of a stream: a source, or one language or direction of it.

    Attributes:
        source: its source's name.
        number: in the order in which streams were met.
        available: what it has.
        quota: tokens that it may give.
        kept: by split, what is in the rows: documents, tokens, seconds, and tokens by kind.
    """

    source: str
    number: int
    available: mixture.Available = field(default_factory=mixture.Available)
    quota: int = 0
    kept: dict[str, Counter[str]] = field(
        default_factory=lambda: {split: Counter() for split in SPLITS}
    )


@dataclass
class _Run:
    config: PrepareConfig
    maker: Maker
    streams: dict[str, Stream] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)

    def stream(self, name: str, source: str) -> Stream:
        if name not in self.streams:
            self.streams[name] = Stream(source, len(self.streams))
        return self.streams[name]


def prepare(config: PrepareConfig, *, workers: int = 1) -> dict[str, Any]:
    """Makes a packed folder; one that is finished and of this configuration is only verified.

    Args:
        config: what to make.
        workers: processes that render documents; the result does not depend on it.

    Returns:
        The content of `manifest.json`.

    Raises:
        ConfigError: the folder holds other data.
        ShardError: a conversion is damaged or not finished, or two were made by different models.
        VocabularyError: the tokenizer's units are not those of the shards.
        ManifestError: a text cannot be read.
        PackedError: what was written does not read back.
        OSError: the disk failed, or another run makes the same folder.
    """
    out = Path(config.out)
    if (out / MANIFEST).exists():
        return _already_there(out, config)
    maker = Maker(config)
    inputs = _check_inputs(config, maker)
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(config, maker)
    length, num_tokens = config.sequence_length, maker.vocabulary.num_tokens
    # Opened first: while one run has these files, a second one is refused.
    with (
        RowWriter(out, "train", length, num_tokens) as train,
        RowWriter(out, "held", length, num_tokens) as held,
    ):
        scratch = out / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            spill = Spill(scratch, config.buckets, token_type(num_tokens))
            _render(run, spill, workers)
            _divide(run)
            facts = _pack(run, spill, {"train": train, "held": held})
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    content = {**_about(run, inputs), **facts, "files": {**train.facts(), **held.facts()}}
    for split in SPLITS:
        PackedRows(out, split, manifest=content).verify()
    write_manifest(out, content)
    return read_manifest(out)


def _already_there(out: Path, config: PrepareConfig) -> dict[str, Any]:
    content = read_manifest(out)
    if content["fingerprint"] != fingerprint(config):
        raise ConfigError(
            f"{out}: holds data of another configuration (fingerprint "
            f"{content['fingerprint'][:12]}, not {fingerprint(config)[:12]}); choose another folder"
        )
    for split in SPLITS:
        PackedRows(out, split).verify()
    log.info("%s is finished already; every byte is as it was written", out)
    return content


def _check_inputs(config: PrepareConfig, maker: Maker) -> dict[str, Any]:
    """Refuses what cannot become data, before anything is written; returns what the inputs are."""
    token_type(maker.vocabulary.num_tokens)
    inputs: dict[str, Any] = {}
    first: tuple[str, dict[str, Any]] | None = None
    for source in config.sources:
        for path in files_of(source):
            if path.is_file():
                inputs[str(path)] = {"bytes": path.stat().st_size}
        if not isinstance(source, SpeechSource) or source.shards in inputs:
            continue
        log.info("verifying %s", source.shards)
        shards = open_shards(source.shards)
        found = verify(source.shards)
        if not found.ok:
            raise ShardError(f"{source.shards}: {found.problems[0]}")
        if shards.num_clusters != maker.vocabulary.num_units:
            raise VocabularyError(
                f"{source.shards} has units of a codebook of {shards.num_clusters}, and "
                f"{config.tokenizer} knows {maker.vocabulary.num_units}"
            )
        made_by = {key: shards.manifest.fingerprint.get(key) for key in _MEANING}
        first = first or (source.shards, made_by)
        differing = [key for key in _MEANING if first[1][key] != made_by[key]]
        if differing:
            raise ShardError(
                f"{source.shards} and {first[0]} have different fingerprints ({differing[0]}): "
                f"{made_by[differing[0]]!r} and {first[1][differing[0]]!r}"
            )
        digest = sha256_of_file(Path(source.shards) / SHARDS_MANIFEST)
        inputs[source.shards] = {"sha256_of_manifest": digest}
    return inputs


def _render(run: _Run, spill: Spill, workers: int) -> None:
    """The first reading: every item becomes documents, which go to the spill."""
    pool = Pool(run.config, workers) if workers > 1 else None
    try:
        for source in run.config.sources:
            counts = run.counts[source.name] = Counter()
            items = items_of(source, run.config, counts)
            batches = pool.documents_of(items) if pool else documents_of(run.maker, items)
            for documents, notes in batches:
                for (_, what), number in notes.items():
                    counts[what] += number
                for document in documents:
                    stream = run.stream(document.stream, source.name)
                    for entry in _entries(run.config, document, stream, source.repeat):
                        spill.add(entry)
            log.info("%s: %s", source.name, dict(counts))
    finally:
        if pool:
            pool.close()
    spill.flush()


def _entries(
    config: PrepareConfig, document: Made, stream: Stream, repeat: float
) -> Iterator[Entry]:
    """A document as often as it is used, with the keys that place and choose it."""
    held = (
        config.held_out > 0 and hash_of(config.seed, "held", document.key) < config.held_out * SPAN
    )
    copies = 1
    if not held:
        copies = int(repeat)
        if copies != repeat:
            lucky = hash_of(config.seed, "copies", document.stream, document.key) / SPAN
            copies += lucky < repeat - copies
    for copy in range(copies):
        choice = hash_of(config.seed, "choice", document.stream, document.key, copy)
        # The pieces of a long text are chosen together, and placed apart.
        place = next_hash(choice, document.chunk)
        if not held:
            stream.available.add(choice, document.tokens.size)
        yield Entry(
            place,
            choice,
            stream.number,
            held,
            document.seconds,
            document.tokens,
            document.marks,
        )


def _divide(run: _Run) -> None:
    """Gives each stream its quota."""
    sources = {source.name: source for source in run.config.sources}
    available: dict[str, dict[str, int]] = {name: {} for name in run.config.groups}
    for name, stream in run.streams.items():
        source = sources[stream.source]
        available[source.group][name] = stream.available.limited(source.documents)
    for name, quota in mixture.quotas(run.config, available).items():
        run.streams[name].quota = quota


def _pack(run: _Run, spill: Spill, writers: dict[Split, RowWriter]) -> dict[str, Any]:
    """The second reading: what is taken goes into rows."""
    config, num_tokens = run.config, run.maker.vocabulary.num_tokens
    limits = {source.name: source.documents for source in config.sources}
    streams = list(run.streams.values())
    deciders = [mixture.taken(s.available, s.quota, limits[s.source]) for s in streams]
    padding = run.maker.tokenizer.pad_token_id
    padding = run.maker.renderer.end_token if padding is None else padding
    packers = {s: BestFit(config.sequence_length, config.open_rows, padding) for s in SPLITS}
    lowest, highest = num_tokens, 0
    for entry in spill:
        decide = deciders[entry.stream]
        size = entry.tokens.size
        kept = decide.holds_out(entry.choice) if entry.held else decide.takes(entry.choice, size)
        if not kept:
            continue
        split: Split = "held" if entry.held else "train"
        _tally(streams[entry.stream].kept[split], entry)
        lowest = min(lowest, int(entry.tokens.min()))
        highest = max(highest, int(entry.tokens.max()))
        for row in packers[split].add(entry.tokens, entry.marks):
            writers[split].write(*row)
    for name, packer in packers.items():
        for row in packer.finish():
            writers[name].write(*row)
    return {
        "rows": {split: writer.rows for split, writer in writers.items()},
        "id_range": [lowest, highest],
        "packing": {
            split: {
                "rows": p.packing.rows,
                "documents": p.packing.documents,
                "tokens": p.packing.tokens,
                "fill_rate": round(p.packing.fill(config.sequence_length), 6),
            }
            for split, p in packers.items()
        },
    }


def _tally(kept: Counter[str], entry: Entry) -> None:
    kept["documents"] += 1
    kept["tokens"] += entry.tokens.size
    kept["milliseconds"] += round(1000 * entry.seconds)
    for kind, number in enumerate(np.bincount(entry.marks & KIND).tolist()):
        if number:
            kept[KINDS[kind]] += number


def _about(run: _Run, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says besides the rows."""
    config, vocabulary = run.config, run.maker.vocabulary
    folder = Path(config.tokenizer)
    tokenizer = {
        name: sha256_of_file(folder / name)
        for name in sorted(os.listdir(folder))  # noqa: PTH208
        if name.startswith(("tokenizer", "special_tokens", "chat_template", "added_tokens"))
    }
    sources: dict[str, Any] = {
        source.name: {
            "group": source.group,
            "counts": dict(run.counts[source.name]),
            "streams": {},
        }
        for source in config.sources
    }
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for name, stream in run.streams.items():
        sources[stream.source]["streams"][name] = {
            "available_tokens": int(stream.available.tokens.sum()),
            "available_documents": int(stream.available.documents.sum()),
            "quota": stream.quota,
            **{split: dict(counter) for split, counter in stream.kept.items()},
        }
        for split, counter in stream.kept.items():
            kinds[split].update({k: n for k, n in counter.items() if k in KINDS})
    return {
        "config": config.model_dump(mode="json"),
        "fingerprint": fingerprint(config),
        "stage": config.stage,
        "sequence_length": config.sequence_length,
        "vocabulary": {
            "first_unit_token": vocabulary.first_unit_token,
            "num_units": vocabulary.num_units,
            "num_tokens": vocabulary.num_tokens,
            "form": vocabulary.form,
        },
        "end_token": run.maker.renderer.end_token,
        "tokenizer": tokenizer,
        "inputs": inputs,
        "sources": sources,
        "tokens": {split: dict(counter) for split, counter in kinds.items()},
    }
