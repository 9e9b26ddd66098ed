"""FLEURS: LANG/SPLIT.tsv without a header, beside LANG/audio/SPLIT/*.wav, unpacked from
audio/SPLIT.tar.gz.

The table's id is a sentence, shared by its recordings and by all languages; a row's id here is the
recording's, and the sentence's is `extra`'s "sentence_id". Lhotse's recipe reads a layout that only
its own downloader makes, takes the lower-cased text and invents speakers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spire_dsu.corpora.layout import at, check_split, extras, first_of
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, ignore, printable, read_lines, utterance
from spire_dsu.types import SAMPLING_RATE, Utterance

_OTHER_NAMES = {"cmn": "zh", "yue": "zh", "nb": "no"}


def read_fleurs(
    root: str | Path, split: str, *, lang: str = "en_us", note: Note = ignore
) -> Iterator[Utterance]:
    """Utterances of "train", "dev" or "test"; the text is the raw transcription.

    Args:
        root: the folder that holds a folder per language, or holds "data" which does.
        split: as above.
        lang: FLEURS's code: "en_us", "de_de", "cmn_hans_cn", ...
        note: told of the files.

    Raises:
        ManifestError: no such language, tars that were not unpacked, a row with neither 7 nor 8
            cells.
    """
    check_split(split, ("train", "dev", "test"), "FLEURS")
    folder = first_of(Path(root, lang), Path(root, "data", lang))
    table = folder / f"{split}.tsv"
    audio = first_of(folder / "audio" / split, folder / split)
    two_letters = lang.partition("_")[0]
    for number, line in read_lines(table, note, errors="surrogateescape"):
        cells = line.split("\t")
        if len(cells) not in (7, 8) or not cells[5].strip().isdecimal() or len(cells[5]) > 15:
            raise ManifestError(f"{printable(table)}:{number}: not FLEURS's form: {line[:80]!r}")
        sentence, file, raw, normalized, _, samples = cells[:6]
        speaker = cells[6] if len(cells) == 8 else None
        yield utterance(
            file.removesuffix(".wav"),
            **at(root, audio / file),
            expected=int(samples) / SAMPLING_RATE or None,
            text=raw,
            lang=_OTHER_NAMES.get(two_letters, two_letters),
            speaker=speaker,
            extra=extras(
                sentence_id=sentence, normalized_text=normalized, gender=cells[-1].strip()
            ),
        )
