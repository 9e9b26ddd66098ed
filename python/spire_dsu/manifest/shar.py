"""Lhotse Shar: cuts.000000.jsonl.gz beside recording.000000.tar, item by item in one order; read
without Lhotse.

A tar holds two members per cut, the audio and its JSON (or .nodata and .nometa where a cut has
none). The tars are not compressed, so a recording is a range of bytes. Other fields (features, ...)
are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import zip_longest

from spire_dsu.errors import ManifestError, Reason
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.jsonl import number_of, read_objects
from spire_dsu.manifest.lhotse import labels_of
from spire_dsu.manifest.tars import Member, walk_tar
from spire_dsu.textio import Note, printable, utterance
from spire_dsu.types import AudioBytes

_CUTS = re.compile(r"cuts(\.\d+)?\.jsonl(\.gz)?")
_AUDIO = re.compile(r"recording(\.\d+)?\.tar(\.gz)?")


def is_cuts(name: str) -> bool:
    """Whether a file of this name lists the cuts of a shard."""
    return _CUTS.fullmatch(name) is not None


def is_audio(name: str) -> bool:
    """Whether a file of this name holds the recordings of a shard."""
    return _AUDIO.fullmatch(name) is not None


def read_shar(path: str, note: Note) -> Iterator[Row]:
    """One row per cut, shard after shard; the id is the cut's.

    Raises:
        ManifestError: a shard lacks its cuts or its recordings, or the two do not go together.
    """
    note(path)
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise ManifestError(f"{printable(path)}: {error}") from error
    cuts = {found[1] or "": name for name in names if (found := _CUTS.fullmatch(name))}
    tars = {found[1] or "": name for name in names if (found := _AUDIO.fullmatch(name))}
    if cuts.keys() != tars.keys():
        lone = sorted(cuts.keys() ^ tars.keys())[0].removeprefix(".")
        raise ManifestError(f"{printable(path)}: shard {lone!r} lacks its cuts or its recordings")
    for number in sorted(cuts):
        yield from _read_shard(
            os.path.join(path, cuts[number]), os.path.join(path, tars[number]), note
        )


def _read_shard(cuts: str, tar: str, note: Note) -> Iterator[Row]:
    pairs = _pairs(walk_tar(tar, note), tar)
    for cut, member in zip_longest(read_objects(cuts, note), pairs):
        if cut is None or member is None:
            shorter = cuts if cut is None else tar
            raise ManifestError(f"{printable(shorter)}: ends before its partner does")
        place, values = cut
        name = os.path.splitext(member.name)[0]
        if values.get("id") != name:
            raise ManifestError(
                f"{place}: cut {values.get('id')!r}, but {printable(tar)} has {name!r}"
            )
        problem = None
        if member.name.endswith(".nodata"):
            problem = (Reason.MISSING, f"cut {name!r} has no recording")
        item = utterance(
            name,
            AudioBytes(tar, member.start, member.size),
            source=f"{printable(os.path.basename(tar))}/{member.name}",
            expected=number_of(
                values, "duration", place
            ),  # the tar holds the cut, not its recording
            problem=problem,
            **labels_of(values, place),
        )
        yield Row(item)


def _pairs(members: Iterator[Member], tar: str) -> Iterator[Member]:
    """The audio of each (audio, its JSON)."""
    for data in members:
        described = next(members, None)
        stem = os.path.splitext(data.name)[0]
        if described is None or described.name not in (f"{stem}.json", f"{stem}.nometa"):
            raise ManifestError(f"{printable(tar)}: {data.name!r} is not followed by its JSON")
        yield data
