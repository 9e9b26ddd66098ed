"""An utterance as a short list of JSON values, and back; paths inside of the manifest's folder are
kept relative.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from spire_dsu.errors import Reason
from spire_dsu.textio import printable
from spire_dsu.types import AudioBytes, AudioCell, AudioFile, AudioRef, Utterance

_SAME = 1


@dataclass(frozen=True, slots=True)
class Row:
    """What the reader of a form yields.

    Attributes:
        utterance: the row; its id may still change where it is derived.
        second: None where the manifest gives the id; else the id to take if the first is another
            row's too.
    """

    utterance: Utterance
    second: str | None = None


def encode(row: Row, base: str) -> list[Any]:
    """JSON values, without what is absent at the end; `base` ends in "/"."""
    item = row.utterance
    path = _inside(item.audio.path, base)
    source = None if item.source == printable(path) else item.source
    values: list[Any] = [
        item.id,
        _SAME if row.second is not None and row.second == item.source else row.second,
        _encode_audio(item.audio, path),
        source,
        item.text,
        item.speaker,
        item.lang,
        item.expected,
        item.offset or None,
        item.duration,
        item.channel,
        [str(item.problem[0]), item.problem[1]] if item.problem else None,
        [list(pair) for pair in item.extra] or None,
    ]
    while values[-1] is None:
        values.pop()
    return values


def decode(values: list[Any], base: str, name: str | None) -> Utterance:
    """The utterance; `name` is its id where that had to be changed."""
    padded = [*values, *[None] * (13 - len(values))]
    own, _, audio, source, text, speaker, lang, expected, offset, duration, channel = padded[:11]
    problem, extra = padded[11:]
    reference, path = _decode_audio(audio, base)
    return Utterance(
        own if name is None else name,
        printable(path) if source is None else source,
        reference,
        offset or 0.0,
        duration,
        expected,
        text,
        lang,
        speaker,
        channel,
        (Reason(problem[0]), problem[1]) if problem else None,
        tuple((key, value) for key, value in extra) if extra else (),
    )


def named(values: list[Any]) -> tuple[str, str | None]:
    """(id, second choice) of an encoded row."""
    name, second = values[0], values[1]
    if second == _SAME:
        path = values[2] if isinstance(values[2], str) else values[2][0]
        source = values[3] if len(values) > 3 else None
        second = printable(path) if source is None else source
    return name, second


def source_of(values: list[Any]) -> str:
    """How messages call an encoded row."""
    path = values[2] if isinstance(values[2], str) else values[2][0]
    source = values[3] if len(values) > 3 else None
    return printable(path) if source is None else str(source)


def _inside(path: str, base: str) -> str:
    """The path relative to `base` where it is inside and joining gives it back."""
    rest = path.removeprefix(base)
    return path if rest.startswith("/") or not rest else rest


def _encode_audio(audio: AudioRef, path: str) -> str | list[Any]:
    if isinstance(audio, AudioFile):
        return path
    if isinstance(audio, AudioBytes):
        return [path, audio.start, audio.size]
    return [path, audio.row_group, audio.row, audio.column]


def _decode_audio(audio: str | list[Any], base: str) -> tuple[AudioRef, str]:
    if isinstance(audio, str):
        return AudioFile(_join(base, audio)), audio
    path = audio[0]
    if len(audio) == 3:
        return AudioBytes(_join(base, path), audio[1], audio[2]), path
    return AudioCell(_join(base, path), audio[1], audio[2], audio[3]), path


def _join(base: str, path: str) -> str:
    return os.path.join(base, path) if path else ""
