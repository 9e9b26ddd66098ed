"""JSON lines with NeMo's names: audio_filepath, offset, duration, text, lang, speaker, and id."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from spire_dsu.errors import ManifestError
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.ids import names_of
from spire_dsu.textio import Note, clean, printable, read_lines, utterance
from spire_dsu.textio.rows import file_in

COLUMNS = {
    "audio": "audio_filepath",
    "id": "id",
    "offset": "offset",
    "duration": "duration",
    "text": "text",
    "lang": "lang",
    "speaker": "speaker",
}


def try_parse(line: str) -> dict[str, Any] | None:
    """The object that a line holds, or None where it holds no such thing."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_objects(path: str, note: Note) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", object) of each line that is not blank.

    Raises:
        ManifestError: names file and line of what is no JSON object.
    """
    name = printable(path)
    for number, line in read_lines(path, note):
        place = f"{name}:{number}"
        try:
            value = json.loads(line)
        except RecursionError as error:
            raise ManifestError(f"{place}: too deeply nested") from error
        except ValueError as error:
            raise ManifestError(f"{place}: no JSON: {error}: {clean(line)[:80]!r}") from error
        if not isinstance(value, dict):
            raise ManifestError(f"{place}: {clean(line)[:80]!r} is not a JSON object")
        yield place, value


def read_jsonl(
    path: str, note: Note, columns: Mapping[str, str], keep: tuple[str, ...]
) -> Iterator[Row]:
    """One row per line. Columns that are not named here are passed over.

    A row with an `offset` is a piece of its recording, `duration` long. Without one it is the whole
    recording, and `duration` is what the manifest expects its length to be.

    Raises:
        ManifestError: a broken line, no path, or a value of a wrong type; names file and line.
    """
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise ManifestError(f"no column {sorted(unknown)} here: {', '.join(COLUMNS)}")
    names = COLUMNS | dict(columns)
    folder = os.path.dirname(path)
    for place, values in read_objects(path, note):
        audio = text_of(values, names["audio"], place)
        if audio is None:
            raise ManifestError(f"{place}: no {names['audio']!r} among {sorted(values)}")
        offset = number_of(values, names["offset"], place)
        duration = number_of(values, names["duration"], place)
        piece = offset is not None
        given = text_of(values, names["id"], place)
        first, second = (given, None) if given else names_of_piece(audio, offset, duration)
        item = utterance(
            first,
            file_in(folder, audio),
            source=printable(audio),
            offset=offset or 0.0,
            duration=duration if piece else None,
            expected=None if piece else duration,
            text=text_of(values, names["text"], place),
            lang=text_of(values, names["lang"], place),
            speaker=text_of(values, names["speaker"], place),
            extra=tuple((key, str(values[key])) for key in keep if values.get(key) is not None),
        )
        yield Row(item, second)


def names_of_piece(path: str, offset: float | None, duration: float | None) -> tuple[str, str]:
    """(id, second choice) of a piece of a recording, by its times where it has any:
    "call@12.340+5.600".
    """
    stem, full = names_of(path)
    if offset is None:
        return stem, full
    times = f"@{offset:.3f}" + ("" if duration is None else f"+{duration:.3f}")
    return stem + times, full + times


def text_of(values: Mapping[str, Any], key: str, place: str) -> str | None:
    """A value that is text, or a whole number (ids and speakers often are); None where it is null
    or absent.
    """
    value = values.get(key)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ManifestError(f"{place}: {key!r} is {str(value)[:40]!r}, not text")


def number_of(values: Mapping[str, Any], key: str, place: str) -> float | None:
    """A value that is a number, NaN included; None where it is null or absent."""
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ManifestError(f"{place}: {key!r} is {str(value)[:40]!r}, not a number")
    try:
        return float(value)
    except OverflowError:
        return float("inf")
