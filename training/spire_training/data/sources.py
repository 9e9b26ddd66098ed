"""Shards, texts and instructions -> items: what a document says, before it has tokens."""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spire_dsu.errors import InputError, ManifestError, Reason
from spire_dsu.llm import prompts
from spire_dsu.llm.prompts import Conversation, Message
from spire_dsu.shards import open_shards
from spire_dsu.textio import read_lines
from spire_dsu.textio.lookup import Lookup
from spire_dsu.types import SAMPLING_RATE, UInt16, UnitRow
from spire_training.data import selection
from spire_training.data.hashing import hash_of
from spire_training.data.packed import ANSWER, MONOLINGUAL, PARALLEL, TRANSCRIPT
from spire_training.data.settings import (
    AnySource,
    InstructionSource,
    MonolingualSource,
    ParallelSource,
    PrepareConfig,
    Selection,
    SpeechSource,
)

Counts = Counter[str]
"""What became of a source's rows: "read", "taken", and "dropped: WHY"."""


@dataclass(frozen=True, slots=True)
class Item:
    """A document without tokens.

    Attributes:
        stream: the source, with a language or direction where it has several.
        key: what is the same for all documents of one utterance or text: they are held out
            together.
        kind: the kind of what is learned.
        conversation: question and answer, or None for running text.
        text: running text, or "".
        units: uint16 [U] of the utterance, or None.
        seconds: of speech.
    """

    stream: str
    key: str
    kind: int
    conversation: Conversation | None = None
    text: str = ""
    units: UInt16 | None = None
    seconds: float = 0.0


def items_of(source: AnySource, config: PrepareConfig, counts: Counts) -> Iterator[Item]:
    """The items of a source, in its own order.

    Args:
        source: one of the configuration's.
        config: for stage, template and seed.
        counts: is told what became of each row.

    Raises:
        ManifestError: a file cannot be read, or a row is not of the form; file and line are named.
        ShardError: a shard is damaged.
    """
    if isinstance(source, SpeechSource):
        found = _speech(source, config, counts)
    elif isinstance(source, ParallelSource):
        found = _parallel(source, counts)
    elif isinstance(source, MonolingualSource):
        found = _monolingual(source, counts)
    else:
        found = _instructions(source, counts)
    index, parts = source.part
    for item in found:
        if parts == 1 or hash_of(config.seed, "part", item.key) % parts == index:
            counts["taken"] += 1
            yield item
        else:
            counts["dropped: other part"] += 1


def files_of(source: AnySource) -> list[Path]:
    """The files of a source, patterns expanded, in a fixed order; the folder of shards.

    Raises:
        ManifestError: a pattern matches nothing.
    """
    if isinstance(source, SpeechSource):
        return [Path(source.shards), *map(Path, source.translations)]
    found: list[Path] = []
    for pattern in source.files:
        names = sorted(glob.glob(pattern))  # noqa: PTH207  (absolute patterns too)
        if not names:
            raise ManifestError(f"source {source.name!r}: no file {pattern!r}")
        found += map(Path, names)
    return found


def _speech(source: SpeechSource, config: PrepareConfig, counts: Counts) -> Iterator[Item]:
    style = config.style
    kind = TRANSCRIPT if config.stage == "cpt" else ANSWER
    with _translations(source) as (translation, languages):
        for row, text in selected(source, config.seed, counts):
            about: dict[str, Any] = {
                "key": row.id,
                "kind": kind,
                "units": row.units,
                "seconds": row.num_samples / SAMPLING_RATE,
            }
            if source.task == "asr":
                make = prompts.asr_cpt if config.stage == "cpt" else prompts.asr
                yield Item(source.name, conversation=make(text, style=style), **about)
                continue
            for code in languages:
                answer = translation(f"{code} {row.id}")
                if answer is None:
                    counts[f"no translation: {code}"] += 1
                    continue
                turns = (
                    prompts.speech_translation(code, answer, style=style)
                    if source.task == "st"
                    else prompts.multi_turn_translation(text, code, answer, style=style)
                )
                yield Item(f"{source.name}/{code}", conversation=turns, **about)


@contextmanager
def _translations(
    source: SpeechSource,
) -> Iterator[tuple[Callable[[str], str | None], tuple[str, ...]]]:
    """ "LANGUAGE ID" -> translation, and the languages there are, wanted ones only."""
    if not source.translations:
        yield (lambda _: None), ()
        return
    languages: set[str] = set()
    wanted = set(source.select.targets)

    def pairs() -> Iterator[tuple[int, str, str]]:
        for path in source.translations:
            for number, row in read_json_lines(Path(path)):
                code, name, text = (row.get(key) for key in ("lang", "id", "text"))
                if not (isinstance(code, str) and isinstance(name, str) and isinstance(text, str)):
                    raise ManifestError(f"{path}:{number}: not a row with id, lang and text")
                if (not wanted or code in wanted) and text.strip():
                    languages.add(code)
                    yield number, f"{code} {name}", text.strip()

    with Lookup(pairs(), ", ".join(source.translations)) as table:
        unknown = languages - prompts.LANGUAGES.keys()
        if unknown:
            raise ManifestError(f"source {source.name!r}: unknown languages {sorted(unknown)}")
        yield table.get, tuple(sorted(languages))


def selected(source: SpeechSource, seed: int, counts: Counts) -> Iterator[tuple[UnitRow, str]]:
    """Rows that the rules take, with the text that they get; dropped ones are counted by rule."""
    rules = source.select
    caps = _caps(source, seed)
    for row, text in _without_caps(source.shards, rules, counts):
        for name, cap in caps.items():
            if not cap.takes(*_pair(name, seed, row, text)):
                counts[f"dropped: {name}"] += 1
                break
        else:
            yield row, text


CAPS = ("max_per_speaker", "max_speakers_per_text")


def _pair(name: str, seed: int, row: UnitRow, text: str) -> tuple[int, int]:
    """Group and member of a row under a cap."""
    if row.speaker is None:
        raise InputError(f"row {row.id!r} has no speaker, and {name} needs it")
    if name == "max_per_speaker":
        return selection.speaker_pair(seed, row.speaker, row.id)
    return selection.transcript_pair(seed, text, row.speaker)


def _caps(source: SpeechSource, seed: int) -> dict[str, selection.Cap]:
    """The caps of a source, each from a reading of what the other rules take."""
    made: dict[str, selection.Cap] = {}
    for name in CAPS:
        limit = int(getattr(source.select, name))
        if limit:
            rows = _without_caps(source.shards, source.select, Counter())
            pairs = (_pair(name, seed, row, text) for row, text in rows)
            made[name] = selection.cap(pairs, limit)
    return made


def _without_caps(shards: str, rules: Selection, counts: Counts) -> Iterator[tuple[UnitRow, str]]:
    """Rows that the rules of a single row take."""
    test_set = None
    if rules.without_texts != "none":
        test_set = selection.Sentences(line for _, line in read_lines(rules.without_texts))
    for row in open_shards(shards):
        counts["read"] += 1
        text = (row.text or "").strip()
        if row.status is not Reason.OK:
            counts[f"dropped: {row.status}"] += 1
        elif row.units.size == 0:
            counts["dropped: no units"] += 1
        elif not text:
            counts["dropped: no text"] += 1
        elif rules.tags and (changed := selection.gigaspeech_text(text)) is None:
            counts["dropped: tags"] += 1
        elif not selection.long_enough(row.num_samples / SAMPLING_RATE, rules.min_seconds):
            counts["dropped: min_seconds"] += 1
        elif test_set and test_set.holds(text):
            counts["dropped: without_texts"] += 1
        else:
            yield row, (changed or "") if rules.tags else text


def _parallel(source: ParallelSource, counts: Counts) -> Iterator[Item]:
    first, second = source.languages
    for path in files_of(source):
        for pair in _pairs(path, first, second, counts):
            one, other = (text.strip() for text in pair)
            if not (one and other):
                counts["dropped: empty"] += 1
                continue
            key = f"{one}\t{other}"
            ways = [(first, second, one, other), (second, first, other, one)]
            for src, tgt, asked, answer in ways[: 2 if source.directions == "both" else 1]:
                turns = prompts.mt_cpt(asked, src, tgt, answer)
                yield Item(f"{source.name}/{src}-{tgt}", key, PARALLEL, conversation=turns)


def _pairs(path: Path, first: str, second: str, counts: Counts) -> Iterator[tuple[str, str]]:
    if path.name.removesuffix(".gz").endswith(".tsv"):
        for number, line in read_lines(path):
            counts["read"] += 1
            cells = line.split("\t")
            if len(cells) != 2:
                raise ManifestError(f"{path}:{number}: {len(cells)} columns, not two")
            yield cells[0], cells[1]
        return
    for number, row in read_json_lines(path):
        counts["read"] += 1
        texts = row.get("translation", row)
        try:
            yield str(texts[first]), str(texts[second])
        except (KeyError, TypeError) as error:
            raise ManifestError(f"{path}:{number}: no text in {first} and {second}") from error


def _monolingual(source: MonolingualSource, counts: Counts) -> Iterator[Item]:
    for path in files_of(source):
        for text in _texts(path, source.column):
            counts["read"] += 1
            if text.strip():
                yield Item(source.name, text, MONOLINGUAL, text=text.strip())
            else:
                counts["dropped: empty"] += 1


def _texts(path: Path, column: str) -> Iterator[str]:
    if path.name.removesuffix(".gz").endswith(".txt"):
        yield from (line for _, line in read_lines(path))
        return
    for number, row in read_rows(path, [column]):
        text = row.get(column)
        if not isinstance(text, str):
            raise ManifestError(f"{path}:{number}: no text in column {column!r}")
        yield text


def _instructions(source: InstructionSource, counts: Counts) -> Iterator[Item]:
    for path in files_of(source):
        for _, row in read_rows(path, None):
            counts["read"] += 1
            if source.split and row.get("split") not in (None, source.split):
                counts["dropped: other split"] += 1
                continue
            turns = _turns(row.get("conversations"))
            if isinstance(turns, str):
                counts[f"dropped: {turns}"] += 1
                continue
            yield Item(source.name, _said(turns[0]), ANSWER, conversation=turns)


_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def _turns(conversation: Any) -> Conversation | str:
    """A conversation of TowerBlocks, or why it is none: its turns must alternate, none empty."""
    made = []
    for place, turn in enumerate(conversation or ()):
        role = _ROLES.get(turn.get("from", ""))
        if role != ("user", "assistant")[place % 2]:
            return "turns do not alternate"
        if not str(turn.get("value") or "").strip():
            return "empty turn"
        made.append(Message(role, (str(turn["value"]),)))  # type: ignore[arg-type]
    return tuple(made) if made and len(made) % 2 == 0 else "turns do not alternate"


def _said(message: Message) -> str:
    return "".join(str(part) for part in message.parts)


def read_rows(path: Path, columns: list[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, row) of JSON lines or Parquet.

    Raises:
        ManifestError: names the file, and the line if any.
    """
    if path.suffix != ".parquet":
        yield from read_json_lines(path)
        return
    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (OSError, ValueError, LookupError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a file of JSON lines, gzip where its name ends in .gz.

    Raises:
        ManifestError: names file and line.
    """
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ManifestError(f"{path}:{number}: not a JSON object")
        yield number, row
