"""fairseq's .tsv: the root folder on the first line, then "path<TAB>samples" for each recording."""

from __future__ import annotations

import os
from collections.abc import Iterator

from spire_dsu.errors import ManifestError
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.ids import names_of
from spire_dsu.textio import Note, clean, printable, read_lines, utterance
from spire_dsu.textio.rows import file_in
from spire_dsu.types import SAMPLING_RATE


def read_tsv(path: str, note: Note) -> Iterator[Row]:
    """One row per line; ids come from the paths below the root.

    A root that is not absolute starts from the manifest's folder. fairseq's readers take 16 kHz, so
    the number of samples becomes the expected length at that rate.

    Raises:
        ManifestError: no root line, or a line that is not "path<TAB>whole number".
    """
    lines = read_lines(path, note, errors="surrogateescape")
    first = next(lines, None)
    if first is None:
        raise ManifestError(f"{printable(path)}: empty; its first line should be the root folder")
    if "\t" in first[1]:
        raise ManifestError(
            f"{printable(path)}:1: {clean(first[1])[:80]!r} is no root folder: not fairseq's form"
        )
    root = os.path.join(os.path.dirname(path), first[1])
    for number, line in lines:
        name, tab, samples = line.rpartition("\t")
        if not tab or not samples.removeprefix("-").isdecimal():
            raise ManifestError(
                f"{printable(path)}:{number}: {clean(line)[:80]!r} is not 'path<TAB>samples'"
            )
        stem, full = names_of(name)
        item = utterance(
            stem,
            file_in(root, name),
            source=printable(name),
            expected=_seconds(samples),
        )
        yield Row(item, full)


def _seconds(samples: str) -> float:
    # Python refuses to read a number of thousands of digits; no recording is that long.
    return int(samples) / SAMPLING_RATE if len(samples) < 20 else float("inf")
