"""Europarl-ST: SRC/audios/*.m4a, and SRC/TGT/SPLIT/segments.lst with segments.SRC and segments.TGT
line by line.

Speeches are whole recordings; utterances are pieces of them. speakers.lst goes with speeches.lst,
not with the segments. Lhotse has no recipe.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from spire_dsu.corpora.layout import at, extras, folder_in
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, ignore, printable, read_lines, utterance
from spire_dsu.textio.rows import seconds_of
from spire_dsu.types import Utterance


def read_europarl_st(
    root: str | Path, split: str, *, target: str = "de", source: str = "en", note: Note = ignore
) -> Iterator[Utterance]:
    """Utterances of "train", "dev", "test" or "train-noisy"; the translation is `extra`'s
    "translation".

    The id is the speech and the times, so that one piece has one id in all language pairs.

    Args:
        root: the release's folder ("v1.1"), which holds a folder per source language.
        split: folder below SRC/TGT.
        target: language of the translation.
        source: language of the speech.
        note: told of the files.

    Raises:
        ManifestError: a file is absent, or files that go together have different numbers of lines.
    """
    folder = folder_in(root, source, target, split)
    lists = _together(folder, ("speeches.lst", "speakers.lst"), note)
    speakers = {lines[0]: lines[1] for lines in lists}
    files = ("segments.lst", f"segments.{source}", f"segments.{target}")
    for number, (segment, text, translation) in enumerate(_together(folder, files, note), 1):
        fields = segment.split()
        if len(fields) != 3:
            raise ManifestError(
                f"{printable(folder)}/segments.lst:{number}: {segment!r} is not 'speech start end'"
            )
        speech, start, end = fields
        begin = seconds_of(start)
        yield utterance(
            f"{speech}@{start}-{end}",
            **at(root, Path(root, source, "audios", f"{speech}.m4a")),
            offset=begin,
            duration=round(seconds_of(end) - begin, 8),
            text=text.strip(),
            lang=source,
            speaker=speakers.get(speech),
            extra=extras(translation=translation.strip(), target=target),
        )


def _together(folder: Path, names: tuple[str, ...], note: Note) -> Iterator[tuple[str, ...]]:
    """The lines of files that correspond line by line."""
    files = [
        read_lines(folder / name, note, errors="surrogateescape", keep_blank=True) for name in names
    ]
    for lines in zip_longest(*files):
        short = [name for name, line in zip(names, lines, strict=True) if line is None]
        if short:
            raise ManifestError(f"{printable(folder)}: {short[0]} has fewer lines than {names}")
        yield tuple(line[1] for line in lines)
