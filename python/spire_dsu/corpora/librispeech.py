"""LibriSpeech: LibriSpeech/PART/SPEAKER/CHAPTER/*.flac with SPEAKER-CHAPTER.trans.txt; upper case,
no punctuation.

Lhotse's recipe opens every recording and leaves out rows whose recording is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spire_dsu.corpora.layout import at, folder_in, sorted_names
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, ignore, read_pairs, utterance
from spire_dsu.types import Utterance


def read_librispeech(root: str | Path, split: str, *, note: Note = ignore) -> Iterator[Utterance]:
    """Utterances of a part ("train-clean-100", "test-other", ...), chapter after chapter.

    Raises:
        ManifestError: no such part, or a chapter whose transcripts are absent or not its own.
    """
    part = folder_in(root, split)
    note(part)
    for speaker in sorted_names(part):
        note(part / speaker)
        for chapter in sorted_names(part / speaker):
            folder = part / speaker / chapter
            for number, name, text in read_pairs(folder / f"{speaker}-{chapter}.trans.txt", note):
                if not name.startswith(f"{speaker}-{chapter}-"):
                    raise ManifestError(f"{folder}: line {number}: {name!r} is of another chapter")
                yield utterance(
                    name, **at(root, folder / f"{name}.flac"), text=text, lang="en", speaker=speaker
                )
