"""WebDataset: tars in which the files of one sample stand together and share their name up to its
first dot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from spire_dsu.errors import ManifestError, Reason
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.folder import files_below, has_audio_name
from spire_dsu.manifest.jsonl import text_of
from spire_dsu.manifest.tars import Member, walk_tar
from spire_dsu.textio import Note, clean, printable, utterance
from spire_dsu.textio.rows import Labels
from spire_dsu.types import AudioBytes, Utterance

_MAX_TEXT = 1 << 20


def read_webdataset(path: str, note: Note) -> Iterator[Row]:
    """One row per sample: its one recording, with text from .txt or .json, lang and speaker from
    .json.

    Keys often start again in each tar, so with several tars an id is "tar/key"; with one it is the
    key. A sample without a recording is a row with `Reason.MISSING`.

    Raises:
        ManifestError: a damaged or compressed tar, a sample with two recordings, unreadable JSON.
    """
    several = os.path.isdir(path)
    for tar in files_below(path, ".tar", note) if several else [path]:
        shown = os.path.relpath(tar, path) if several else os.path.basename(tar)
        prefix = f"{printable(os.path.splitext(shown)[0])}/" if several else ""
        for key, members in groupby(walk_tar(tar, note), key=lambda member: _key(member.name)):
            yield Row(_sample(prefix + key, tar, printable(shown), list(members)))


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.partition(".")[0] or base)


def _sample(name: str, tar: str, shown: str, members: list[Member]) -> Utterance:
    audio = [member for member in members if has_audio_name(member.name)]
    if len(audio) > 1:
        names = f"{audio[0].name!r} and {audio[1].name!r}"
        raise ManifestError(f"{printable(tar)}: {names} are one sample (the same name up to a dot)")
    labels: Labels = {}
    for member in members:
        if member.name.endswith(".json"):
            values = _json(tar, member)
            place = f"{shown}/{member.name}"
            labels["text"] = text_of(values, "text", place)
            labels["lang"] = text_of(values, "lang", place)
            labels["speaker"] = text_of(values, "speaker", place)
    for member in members:
        if member.name.endswith(".txt"):
            labels["text"] = clean(_read(tar, member).decode("utf-8", "surrogateescape")).strip()
    first = audio[0] if audio else members[0]
    problem = None if audio else (Reason.MISSING, f"sample {name!r} has no recording")
    return utterance(
        name,
        AudioBytes(tar, first.start, first.size),
        source=f"{shown}/{first.name}",
        problem=problem,
        **labels,
    )


def _read(tar: str, member: Member) -> bytes:
    if member.size > _MAX_TEXT:
        raise ManifestError(f"{printable(tar)}: {member.name!r} has {member.size} bytes of text")
    with open(tar, "rb") as file:
        return os.pread(file.fileno(), member.size, member.start)


def _json(tar: str, member: Member) -> dict[str, Any]:
    try:
        values = json.loads(_read(tar, member))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{printable(tar)}: {member.name!r}: no JSON: {error}") from error
    if not isinstance(values, dict):
        raise ManifestError(f"{printable(tar)}: {member.name!r} is not a JSON object")
    return values
