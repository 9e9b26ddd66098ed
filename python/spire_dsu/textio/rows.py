"""One row as the rest of the program may rely on it: printable text, sane times, a path that can be
opened.
"""

from __future__ import annotations

import os
from math import inf, isfinite
from typing import TypedDict

from spire_dsu.errors import Reason
from spire_dsu.textio.lines import clean
from spire_dsu.types import AudioFile, AudioRef, Utterance

Problem = tuple[Reason, str]


class Labels(TypedDict, total=False):
    """The arguments of `utterance` that say what is known of the speech."""

    text: str | None
    lang: str | None
    speaker: str | None


class Times(TypedDict, total=False):
    """The arguments of `utterance` that say which part of the recording is meant, in seconds."""

    offset: float
    duration: float | None
    expected: float | None


def utterance(
    name: str,
    audio: AudioRef,
    *,
    source: str,
    offset: float = 0.0,
    duration: float | None = None,
    expected: float | None = None,
    text: str | None = None,
    lang: str | None = None,
    speaker: str | None = None,
    channel: int | None = None,
    problem: Problem | None = None,
    extra: tuple[tuple[str, str], ...] = (),
) -> Utterance:
    """An `Utterance`, with what is wrong with its times or its path found and all its text made
    storable.

    Times that mean nothing (negative, NaN, infinite, a length of 0) become a `Reason.BAD_SEGMENT`
    that holds them.
    """
    problem = problem or problem_of_path(audio.path)
    times = _problem_of_times(offset, duration, expected)
    if times is not None:
        problem = problem or times
        offset, duration, expected = 0.0, None, None
    return Utterance(
        clean(name),
        clean(source),
        audio,
        offset,
        duration,
        expected,
        None if text is None else clean(text),
        None if lang is None else clean(lang),
        None if speaker is None else clean(speaker),
        channel,
        problem,
        tuple((key, clean(value)) for key, value in extra),
    )


def problem_of_path(path: str) -> Problem | None:
    """Why no file can have this name, or None."""
    if path.isascii() and "\0" not in path and path:
        return None
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        return Reason.MISSING, f"no file can be named {path!r}"
    if not raw or b"\0" in raw:
        return Reason.MISSING, f"no file can be named {path!r}"
    return None


def _problem_of_times(
    offset: float, duration: float | None, expected: float | None
) -> Problem | None:
    if not 0 <= offset < inf:
        return Reason.BAD_SEGMENT, f"offset {offset} s"
    for seconds in (duration, expected):
        if seconds is not None and not 0 < seconds < inf:
            return Reason.BAD_SEGMENT, f"duration {seconds} s"
    return None


def file_in(folder: str, path: str) -> AudioFile:
    """A file by its path as a list gives it: absolute, or relative to `folder`."""
    return AudioFile(os.path.join(folder, path) if path else "")


def seconds_of(text: str) -> float:
    """A number as text; what is no number is NaN, so that the row gets its reason.

    Python also reads "1_000" and " 1 ", which no table means.
    """
    if "_" in text or text != text.strip():
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if isfinite(value) else float("nan")
