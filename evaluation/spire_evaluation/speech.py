"""Units and waveforms of test items.

Units come from a finished `spire-dsu convert`, or are made by one on the way: the code and the
fingerprint are those of the training data, so the units of both cannot differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spire_dsu.errors import AudioError, InputError
from spire_dsu.files import write_atomically
from spire_dsu.shards import open_shards
from spire_dsu.types import AudioFile, Float32, UInt16, Utterance
from spire_evaluation.config import SpeechConfig
from spire_evaluation.items import SPEECH, Item, TestSet

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Spoken:
    """The units of one recording, or why it has none.

    Attributes:
        units: uint16 [U], runs merged; empty where there are none.
        frames: frames of 20 ms.
        status: "ok" or a reason.
    """

    units: UInt16
    frames: int
    status: str


@dataclass(slots=True)
class UnitTable:
    """Units by test set and item.

    Attributes:
        rows: (key, item) -> units.
        facts: key -> where its units come from, for provenance.
        num_units: key -> K, one more than the largest unit there can be.
    """

    rows: dict[tuple[str, str], Spoken] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    num_units: dict[str, int] = field(default_factory=dict)

    def of(self, test: TestSet, item: Item) -> Spoken:
        """The item's units."""
        return self.rows[test.key, item.id]

    def derive(self, key: str, items: Mapping[str, tuple[str, str]], like: str) -> None:
        """Gives items of a further test set the units of others, by their (key, item)."""
        self.rows |= {(key, name): self.rows[source] for name, source in items.items()}
        self.facts[key] = self.facts[like]
        self.num_units[key] = self.num_units[like]


def load_units(
    tests: Sequence[TestSet],
    folders: Mapping[str, Path],
    config: SpeechConfig,
    out: Path,
) -> UnitTable:
    """Units of every item of the speech tests.

    Args:
        tests: those without speech are passed over.
        folders: key -> finished conversion; test sets without one are converted into `out`.
        config: the model that converts.
        out: the conversion's folder, continued if it was interrupted.

    Raises:
        InputError: a finished conversion lacks an item; names some.
        SpireError: what reading or converting says.
    """
    table = UnitTable()
    spoken = [test for test in tests if test.task in SPEECH]
    for test in spoken:
        if test.key in folders:
            names = {(test.key, item.id): item.id for item in test.items}
            _read(table, folders[test.key], names)
    rest = [test for test in spoken if test.key not in folders]
    if rest:
        rows, names = _rows(rest)
        manifest = out.with_name(f"{out.name}.jsonl")
        lines = (_line(name, row) for name, row in rows.items())
        write_atomically(manifest, "".join(lines).encode())
        _convert(manifest, config, out)
        _read(table, out, names)
    return table


def wave(item: Item) -> Float32:
    """float32 [S] at 16 kHz, mono.

    Raises:
        AudioError: the recording cannot be decoded.
    """
    from spire_dsu.audio import read_audio

    row = _speech(item)
    if row.problem is not None:
        raise AudioError(*row.problem)
    return read_audio(_path(row), offset=row.offset, duration=row.duration)


def _rows(tests: Sequence[TestSet]) -> tuple[dict[str, Utterance], dict[tuple[str, str], str]]:
    """The distinct recordings by a new id, and which one each item has: FLEURS serves ten tests."""
    rows: dict[str, Utterance] = {}
    by_path: dict[str, str] = {}
    names: dict[tuple[str, str], str] = {}
    for test in tests:
        for item in test.items:
            row = _speech(item)
            name = by_path.setdefault(_path(row), f"{test.key}/{item.id}")
            rows.setdefault(name, row)
            names[test.key, item.id] = name
    return rows, names


def _line(name: str, row: Utterance) -> str:
    return json.dumps({"audio_filepath": _path(row), "id": name}, ensure_ascii=False) + "\n"


def _convert(manifest: Path, config: SpeechConfig, out: Path) -> None:
    from spire_dsu.convert import convert

    convert(
        manifest,
        out,
        model=config.model,
        device=config.device,
        precision=config.precision,
        workers=config.workers,
    )


def _read(table: UnitTable, folder: Path, names: Mapping[tuple[str, str], str]) -> None:
    shards, wanted = open_shards(folder), set(names.values())
    found = {
        row.id: Spoken(row.units, row.num_frames, str(row.status))
        for row in shards
        if row.id in wanted
    }
    missing = sorted({name for name in names.values() if name not in found})
    if missing:
        some = ", ".join(map(repr, missing[:_NAMED]))
        raise InputError(f"{folder}: has no row for {len(missing)} items of the test set: {some}")
    # The digest of the list of recordings goes by their paths, which decide nothing.
    known = {k: v for k, v in shards.manifest.fingerprint.items() if k != "manifest"}
    for place, name in names.items():
        table.rows[place] = found[name]
        table.num_units[place[0]] = shards.num_clusters
    for key in dict.fromkeys(key for key, _ in names):
        mine = [found[name] for place, name in names.items() if place[0] == key]
        table.facts[key] = {"fingerprint": known, "units_sha256": _digest(mine)}


def _digest(many: Sequence[Spoken]) -> str:
    """SHA-256 over units and statuses, in the order of the items."""
    digest = hashlib.sha256()
    for spoken in many:
        digest.update(f"{spoken.status} {spoken.units.size}\n".encode())
        digest.update(spoken.units.astype("<u2").tobytes())
    return digest.hexdigest()


def _speech(item: Item) -> Utterance:
    if item.speech is None:
        raise InputError(f"item {item.id!r} has no recording")
    return item.speech


def _path(row: Utterance) -> str:
    if not isinstance(row.audio, AudioFile):
        raise InputError(f"{row.id!r}: test sets are read from files, this is {row.source}")
    return row.audio.path


NO_SPEECH = "no speech"
"""The `finish` of an answer that was never asked for, as there was nothing to hear."""
