"""VoxPopuli's transcribed speech: transcribed_data/LANG/asr_SPLIT.tsv beside
transcribed_data/LANG/YEAR/ID.ogg.

These are the official clips, which the corpus's own `get_asr_data` makes out of whole sessions by
joining the pieces with speech in them. Lhotse's recipe cuts from the first to the last piece
instead, so its audio is another, numbers its rows anew, and fetches the table from the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spire_dsu.corpora.layout import at, check_split, extras, folder_in
from spire_dsu.textio import Note, ignore, read_table, utterance
from spire_dsu.types import Utterance

_ABSENT = ("", "None", "nan")


def read_voxpopuli(
    root: str | Path, split: str, *, lang: str = "en", note: Note = ignore
) -> Iterator[Utterance]:
    """Utterances of "train", "dev" or "test"; the text is the raw one, or the normalised one where
    that is empty.

    Raises:
        ManifestError: no such split, or the clips were not made yet.
    """
    check_split(split, ("train", "dev", "test"), "VoxPopuli")
    folder = folder_in(root, "transcribed_data", lang)
    columns = ("id", "raw_text", "normalized_text", "speaker_id")
    for _, row in read_table(folder / f"asr_{split}.tsv", columns, note):
        name, speaker = row["id"], row["speaker_id"]
        yield utterance(
            name,
            **at(root, folder / name[:4] / f"{name}.ogg"),
            text=row["raw_text"] or row["normalized_text"],
            lang=lang,
            speaker=None if speaker in _ABSENT else speaker,
            extra=extras(normalized_text=row["normalized_text"], gender=row.get("gender")),
        )
