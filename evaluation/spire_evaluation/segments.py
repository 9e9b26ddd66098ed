"""References and hypotheses: JSON lines, joined by id, nothing missing and nothing twice."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spire_dsu.errors import InputError
from spire_dsu.textio import printable, read_lines

_NAMED = 5  # ids that one error message names


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a reference or hypothesis file.

    Attributes:
        id: unique in its file; joins a hypothesis to its reference.
        text: the reference, or what a system answered.
        source: what was to be translated, for COMET.
        speaker: whose voice it is; resampled as one block where every reference has one.
        lang: language of the text.
        tokens, tags: the words of a sentence and their entity tags, one each (NER references).
    """

    id: str
    text: str
    source: str | None = None
    speaker: str | None = None
    lang: str | None = None
    tokens: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """References in the order of their file, each with its hypothesis.

    Attributes:
        references: N segments.
        hypotheses: N texts, in the same order.
    """

    references: tuple[Segment, ...]
    hypotheses: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.references)

    @property
    def empty_references(self) -> int:
        """How many references have no text but white space."""
        return sum(not segment.text.strip() for segment in self.references)

    @property
    def empty_hypotheses(self) -> int:
        """How many hypotheses have no text but white space."""
        return sum(not text.strip() for text in self.hypotheses)

    def speakers(self) -> tuple[str, ...] | None:
        """The speaker of each reference; None unless every reference has one."""
        found = tuple(s.speaker for s in self.references if s.speaker is not None)
        return found if len(found) == len(self.references) else None


def read_segments(path: str | os.PathLike[str], *, text_required: bool = True) -> list[Segment]:
    """Reads JSON lines with `id` and `text`, and `source`, `speaker`, `lang`, `tokens`, `tags`.

    Other keys are left alone. An id may be a whole number; it is read as its decimal digits.

    Args:
        path: UTF-8 text, gzip where the name ends in .gz; one object per line.
        text_required: False reads a line without `text` as empty text (references of a metric that
            needs none).

    Raises:
        ManifestError: the file cannot be read; names file and line.
        InputError: a line is no such object, or an id comes twice; names file, line and value.
    """
    segments: list[Segment] = []
    lines: dict[str, int] = {}
    for number, line in read_lines(path):
        segment = _parse(line, f"{printable(path)}:{number}", text_required)
        if segment.id in lines:
            raise InputError(
                f"{printable(path)}:{number}: id {segment.id!r} was already on line "
                f"{lines[segment.id]}"
            )
        lines[segment.id] = number
        segments.append(segment)
    if not segments:
        raise InputError(f"{printable(path)}: no line with an id and a text")
    return segments


def join(references: Sequence[Segment], hypotheses: Iterable[Segment], name: str) -> Joined:
    """Puts each reference beside the hypothesis of the same id.

    Args:
        references: N segments; their order is kept.
        hypotheses: N segments in any order.
        name: what an error calls the hypotheses: a file or a system.

    Raises:
        InputError: an id comes twice, or is in one of the two alone; names the ids.
    """
    answers = list(hypotheses)
    for side, segments in (("references", references), (name, answers)):
        twice = [i for i, count in Counter(s.id for s in segments).items() if count > 1]
        if twice:
            raise InputError(f"{side}: ids that come more than once: {_some(twice)}")
    texts = {segment.id: segment.text for segment in answers}
    missing = [segment.id for segment in references if segment.id not in texts]
    known = {segment.id for segment in references}
    extra = [segment.id for segment in answers if segment.id not in known]
    if missing or extra:
        problems = [f"{len(references)} references but {len(answers)} hypotheses"]
        problems += [f"no hypothesis for {_some(missing)}"] * bool(missing)
        problems += [f"no reference for {_some(extra)}"] * bool(extra)
        raise InputError(f"{name}: {'; '.join(problems)}")
    return Joined(tuple(references), tuple(texts[segment.id] for segment in references))


def read_joined(
    references: str | os.PathLike[str],
    hypotheses: str | os.PathLike[str],
    *,
    text_required: bool = True,
) -> Joined:
    """Both files read and joined. Raises what `read_segments` and `join` do."""
    return join(
        read_segments(references, text_required=text_required),
        read_segments(hypotheses),
        Path(hypotheses).name,
    )


def _parse(line: str, where: str, text_required: bool) -> Segment:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: not an object but {line[:60]!r}")
    name = row.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}: id is {name!r}, not a text that is not empty")
    text = row.get("text", None if text_required else "")
    if not isinstance(text, str):
        raise InputError(f"{where}: text of id {name!r} is {text!r}, not a text")
    for value in (name, text):
        _encodable(value, where)
    tokens, tags = _texts(row, "tokens", where), _texts(row, "tags", where)
    if tokens is not None and tags is not None and len(tokens) != len(tags):
        raise InputError(f"{where}: id {name!r} has {len(tokens)} tokens but {len(tags)} tags")
    speaker = row.get("speaker")
    return Segment(
        id=name,
        text=text,
        source=_optional(row, "source", where),
        speaker=None if speaker is None else str(speaker),  # speaker ids are often numbers
        lang=_optional(row, "lang", where),
        tokens=tokens,
        tags=tags,
    )


def _optional(row: dict[str, object], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{where}: {key} is {value!r}, not a text")
    if value is not None:
        _encodable(value, where)
    return value


def _texts(row: dict[str, object], key: str, where: str) -> tuple[str, ...] | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{where}: {key} is {str(value)[:60]!r}, not a list of texts")
    return tuple(value)


def _encodable(text: str, where: str) -> None:
    """JSON can hold half of a surrogate pair, which no UTF-8 text and no tokenizer can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: {text[:60]!a} cannot be written as UTF-8") from error


def _some(ids: Sequence[str]) -> str:
    rest = len(ids) - _NAMED
    return ", ".join(map(repr, ids[:_NAMED])) + (f" and {rest} more" if rest > 0 else "")
