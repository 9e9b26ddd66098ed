"""Lhotse's cuts, and its recordings, as JSON lines; read without Lhotse.

What a cut may hold beyond a piece of one recording is refused by name, not approximated: mixtures,
padding, speed and volume changes, commands and URLs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from spire_dsu.errors import ManifestError
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.jsonl import number_of, read_objects, text_of
from spire_dsu.textio import Note, printable, utterance
from spire_dsu.textio.rows import Labels, Times, file_in
from spire_dsu.types import Utterance

_HARMLESS = {"Resample"}  # the audio is resampled to 16 kHz in any case
_ROUNDING = 1e-3


def is_lhotse(values: Mapping[str, Any]) -> bool:
    """Whether an object is a cut, a recording or a supervision of Lhotse's, rather than a row of
    NeMo's.
    """
    return bool(
        {"recording", "sources", "tracks", "recording_id"} & set(values)
        or str(values.get("type", "")).endswith("Cut")
    )


def read_cuts(path: str, note: Note) -> Iterator[Row]:
    """One row per cut, or per recording in a manifest of recordings; the id is Lhotse's.

    Raises:
        ManifestError: names file and line of what is neither, and of what cannot be done to a
            recording here.
    """
    folder = os.path.dirname(path)
    for place, values in read_objects(path, note):
        yield Row(cut_row(values, place, folder))


def cut_row(values: dict[str, Any], place: str, folder: str) -> Utterance:
    """The `Utterance` of a cut or recording.

    Args:
        values: the object as Lhotse writes it.
        place: "file:line" for messages.
        folder: where relative paths start.
    """
    recording = values if "sources" in values else values.get("recording")
    if not isinstance(recording, dict):
        what = (
            values.get("type") or "a supervision"
            if "recording_id" in values
            else values.get("type")
        )
        raise ManifestError(f"{place}: {what or 'an object'} without a recording: cuts are wanted")
    path, channel = _file_of(recording, values.get("channel"), place)
    return utterance(
        _id_of(values, place),
        file_in(folder, path),
        source=printable(path),
        channel=channel,
        **times_of(values, recording, place),
        **labels_of(values, place),
    )


def times_of(values: Mapping[str, Any], recording: Mapping[str, Any], place: str) -> Times:
    """offset, duration and expected of a cut; one that covers its recording has only the last."""
    whole = number_of(recording, "duration", place)
    if values is recording:
        return {"expected": whole}
    start = number_of(values, "start", place) or 0.0
    duration = number_of(values, "duration", place)
    if start == 0 and (duration is None or (whole and abs(duration - whole) < _ROUNDING)):
        return {"expected": whole}
    return {"offset": start, "duration": duration}


def labels_of(values: Mapping[str, Any], place: str) -> Labels:
    """text, lang and speaker of a cut's supervisions: texts are joined in time, a speaker counts if
    it is the only.
    """
    found = values.get("supervisions") or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ManifestError(
            f"{place}: 'supervisions' is {str(found)[:40]!r}, not a list of objects"
        )
    found = sorted(found, key=lambda item: number_of(item, "start", place) or 0.0)
    texts = [text_of(item, "text", place) for item in found]
    said = [text for text in texts if text is not None]
    return {
        "text": " ".join(said) if said else None,
        "lang": _only([text_of(item, "language", place) for item in found]),
        "speaker": _only([text_of(item, "speaker", place) for item in found]),
    }


def _only(values: list[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None


def _id_of(values: Mapping[str, Any], place: str) -> str:
    name = text_of(values, "id", place)
    if not name:
        raise ManifestError(f"{place}: no id")
    return name


def check_untouched(recording: Mapping[str, Any], place: str) -> None:
    """Refuses a recording that Lhotse would change as it reads it."""
    for change in recording.get("transforms") or []:
        name = change.get("name") if isinstance(change, dict) else change
        if name not in _HARMLESS:
            raise ManifestError(
                f"{place}: the recording is changed by {str(name)[:40]!r}: save it first"
            )


def _file_of(recording: Mapping[str, Any], chosen: Any, place: str) -> tuple[str, int | None]:
    """(path, channel to take or None for all) of the one source that a cut needs."""
    check_untouched(recording, place)
    sources = recording.get("sources")
    if not isinstance(sources, list) or not all(isinstance(item, dict) for item in sources):
        raise ManifestError(f"{place}: 'sources' is {str(sources)[:40]!r}, not a list of objects")
    wanted = chosen if isinstance(chosen, list) else [] if chosen is None else [chosen]
    if wanted:
        sources = [s for s in sources if set(wanted) & set(s.get("channels") or [])]
    if len(sources) != 1:
        raise ManifestError(f"{place}: channels {wanted} are in {len(sources)} files, not in one")
    kind, path = sources[0].get("type"), sources[0].get("source")
    if kind != "file" or not isinstance(path, str):
        raise ManifestError(
            f"{place}: a source of type {kind!r}; only files are read, nothing is run"
        )
    there = list(sources[0].get("channels") or [0])
    if not wanted or sorted(wanted) == sorted(there):
        return path, None
    if len(wanted) > 1:
        raise ManifestError(f"{place}: channels {wanted} of {there}: one, or all")
    return path, there.index(wanted[0])
