"""Multilingual LibriSpeech: SPLIT/transcripts.txt beside SPLIT/audio/SPEAKER/BOOK/*.flac (or
.opus); lower case.

Lhotse's recipe opens every recording, looks for Opus unless told otherwise, holds a split in memory
and stops at a speaker that metainfo.txt lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spire_dsu.corpora.layout import at, check_split
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, ignore, read_pairs, utterance
from spire_dsu.types import Utterance

_LANGUAGES = {
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "polish": "pl",
    "portuguese": "pt",
    "spanish": "es",
}


def read_mls(root: str | Path, split: str, *, note: Note = ignore) -> Iterator[Utterance]:
    """Utterances of "train", "dev" or "test" of one language; the root is "mls_english",
    "mls_english_opus", ...

    Raises:
        ManifestError: no such split, or an id that is not SPEAKER_BOOK_NUMBER.
    """
    folder = Path(root, check_split(split, ("train", "dev", "test"), "MLS"))
    language, _, opus = Path(root).absolute().name.removeprefix("mls_").partition("_")
    extension = ".opus" if opus == "opus" else ".flac"
    for number, name, text in read_pairs(folder / "transcripts.txt", note, separator="\t"):
        speaker, _, rest = name.partition("_")
        book = rest.partition("_")[0]
        if not book:
            raise ManifestError(f"{folder / 'transcripts.txt'}:{number}: id {name!r}")
        yield utterance(
            name,
            **at(root, folder / "audio" / speaker / book / (name + extension)),
            text=text,
            lang=_LANGUAGES.get(language),
            speaker=speaker,
        )
