"""A Kaldi data folder: wav.scp, and segments, text, utt2spk, utt2lang where they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

from spire_dsu.errors import ManifestError, Reason
from spire_dsu.manifest.codec import Row
from spire_dsu.textio import Note, clean, printable, read_pairs, utterance
from spire_dsu.textio.lookup import Lookup
from spire_dsu.textio.rows import Labels, file_in, seconds_of
from spire_dsu.types import AudioFile, Utterance

_TABLES = ("text", "utt2lang", "utt2spk")


def read_kaldi(path: str, note: Note) -> Iterator[Row]:
    """One row per line of `segments`, or of `wav.scp` where there are none; nothing needs to be
    sorted.

    An end of -1 is the end of the recording, as in Kaldi. Lines of `text` or `utt2spk` without a
    segment are passed over; a segment of a recording that wav.scp does not have is a row with
    `Reason.MISSING`.

    Raises:
        ManifestError: a command in wav.scp (nothing is ever run), a key given twice, a broken line.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    scp, segments = os.path.join(folder, "wav.scp"), os.path.join(folder, "segments")
    with ExitStack() as stack:
        tables = {
            name: stack.enter_context(Lookup(read_pairs(table, note), printable(table)))
            for name in _TABLES
            if os.path.exists(table := os.path.join(folder, name))
        }

        def labels(name: str) -> Labels:
            text, lang, speaker = (
                tables[table].get(name) if table in tables else None for table in _TABLES
            )
            return {"text": text, "lang": lang, "speaker": speaker}

        if not os.path.exists(segments):
            for _, name, audio in _recordings(scp, note):
                place = file_in(folder, audio)
                yield Row(utterance(name, place, source=printable(audio), **labels(name)))
            return
        recordings = stack.enter_context(Lookup(_recordings(scp, note), printable(scp)))
        for number, name, rest in read_pairs(segments, note):
            where = f"{printable(segments)}:{number}"
            yield Row(_piece(name, rest, recordings, folder, where, labels(name)))


def _piece(
    name: str, rest: str, recordings: Lookup, folder: str, where: str, labels: Labels
) -> Utterance:
    """The row of a line "name recording start end [channel]" of `segments`."""
    fields = rest.split()
    if len(fields) not in (3, 4):
        raise ManifestError(f"{where}: {clean(rest)[:80]!r} is not 'recording start end'")
    start, end = seconds_of(fields[1]), seconds_of(fields[2])
    found, shown = recordings.get(fields[0]), clean(fields[0])
    return utterance(
        name,
        AudioFile("") if found is None else file_in(folder, found),
        source=shown if found is None else printable(found),
        offset=start,
        duration=None if end == -1 else end - start,
        channel=_channel(fields[3], where) if len(fields) == 4 else None,
        problem=(Reason.MISSING, f"wav.scp has no recording {shown!r}") if found is None else None,
        **labels,
    )


def _recordings(scp: str, note: Note) -> Iterator[tuple[int, str, str]]:
    for number, name, audio in read_pairs(scp, note):
        where = f"{printable(scp)}:{number}"
        if audio.endswith("|") or audio.startswith("|"):
            raise ManifestError(
                f"{where}: {clean(audio)[:80]!r} is a command; none is ever run, save its output"
            )
        if not audio:
            raise ManifestError(f"{where}: {clean(name)!r} has no path")
        yield number, name, audio


def _channel(text: str, where: str) -> int:
    if not text.isdecimal() or len(text) > 4:
        raise ManifestError(f"{where}: channel {clean(text)!r}")
    return int(text)
