"""CommonVoice, any release: LANG/SPLIT.tsv beside LANG/clips/*.mp3; cased, punctuated, with
unbalanced quotes.

Lhotse's recipe opens every clip, leaves out rows whose clip is absent, and needs columns that
releases before 13 do not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from spire_dsu.corpora.layout import at, check_split, extras
from spire_dsu.textio import Note, ignore, printable, read_table, utterance
from spire_dsu.textio.lookup import Lookup
from spire_dsu.textio.rows import seconds_of
from spire_dsu.types import Utterance

SPLITS = ("train", "dev", "test", "validated", "invalidated", "other")


def read_commonvoice(
    root: str | Path, split: str, *, lang: str = "en", note: Note = ignore
) -> Iterator[Utterance]:
    """Utterances of a split of one language; the root is the release's folder
    ("cv-corpus-18.0-2024-06-14").

    Expected lengths come from clip_durations.tsv where it is there (releases from 14 on have it); a
    length that is no number, or 0, is not taken.

    Raises:
        ManifestError: no such split, or a table without path, sentence or client_id.
    """
    check_split(split, SPLITS, "CommonVoice")
    folder = Path(root, lang)
    durations = folder / "clip_durations.tsv"
    with ExitStack() as stack:
        lengths = None
        if durations.exists():
            lengths = stack.enter_context(Lookup(_lengths(durations, note), printable(durations)))
        columns = ("client_id", "path", "sentence")
        for _, row in read_table(folder / f"{split}.tsv", columns, note):
            name = clip_name(row["path"])
            yield utterance(
                name.removesuffix(".mp3"),
                **at(root, folder / "clips" / name),
                expected=_seconds(lengths.get(name) if lengths else None),
                text=row["sentence"].strip(),
                lang=lang,
                speaker=row["client_id"] or None,
                extra=extras(gender=row.get("gender"), accents=row.get("accents")),
            )


def clip_name(path: str) -> str:
    """The file of a clip; the oldest releases leave its extension out."""
    return path if path.endswith(".mp3") else f"{path}.mp3"


def _lengths(path: Path, note: Note) -> Iterator[tuple[int, str, str]]:
    for number, row in read_table(path, ("clip", "duration[ms]"), note):
        yield number, row["clip"], row["duration[ms]"]


def _seconds(milliseconds: str | None) -> float | None:
    seconds = seconds_of(milliseconds or "") / 1000
    return seconds if seconds > 0 else None
