"""CoVoST 2: covost_v2.SRC_TGT.tsv (translations) joined by clip with CommonVoice 4's validated.tsv
(sentences).

With another release of CommonVoice the join quietly loses rows. Here a clip without a sentence is a
row with its reason, and over 1 % of them is an error. Lhotse has no recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spire_dsu.corpora.commonvoice import clip_name
from spire_dsu.corpora.layout import at, check_split, extras, first_of
from spire_dsu.errors import ManifestError, Reason
from spire_dsu.textio import Note, ignore, printable, read_table, utterance
from spire_dsu.textio.lookup import Lookup
from spire_dsu.types import Utterance

_MOST_LOST = 0.01


def read_covost2(
    root: str | Path,
    split: str,
    *,
    target: str = "de",
    source: str = "en",
    note: Note = ignore,
) -> Iterator[Utterance]:
    """Utterances of "train", "dev" or "test"; the translation is `extra`'s "translation".

    Args:
        root: CommonVoice 4's folder of the source language: clips/, validated.tsv, and beside them
            CoVoST's table or what its own script made of it (covost_v2.SRC_TGT.SPLIT.tsv, used
            where it is there).
        split: "train" is CommonVoice's train and what CoVoST adds, as in the official script.
        target: "de", "zh-CN", ...
        source: language of the speech.
        note: told of the files.

    Raises:
        ManifestError: a table is absent or of another form, or the release of CommonVoice is
            another one.
    """
    check_split(split, ("train", "dev", "test"), "CoVoST 2")
    pair = f"covost_v2.{source}_{target}"
    joined = Path(root, f"{pair}.{split}.tsv")
    rows = _read_joined(joined, note) if joined.exists() else _join(root, pair, split, note)
    for path, sentence, translation, speaker in rows:
        name = clip_name(path)
        problem = None
        if sentence is None:
            problem = (Reason.MISSING, f"validated.tsv has no clip {name!r}")
        yield utterance(
            name.removesuffix(".mp3"),
            **at(root, Path(root, "clips", name)),
            text=sentence,
            lang=source,
            speaker=speaker or None,
            problem=problem,
            extra=extras(translation=translation, target=target),
        )


_Joined = tuple[str, str | None, str, str]
"""(clip, sentence or None, translation, speaker)"""


def _read_joined(path: Path, note: Note) -> Iterator[_Joined]:
    columns = ("path", "sentence", "translation", "client_id")
    for _, row in read_table(path, columns, note):
        cells = [_unescape(row[column]) for column in columns]
        yield cells[0], cells[1], cells[2], cells[3]


def _join(root: str | Path, pair: str, split: str, note: Note) -> Iterator[_Joined]:
    table = first_of(Path(root, f"{pair}.tsv"), Path(root).parent / f"{pair}.tsv")
    validated = Path(root, "validated.tsv")
    splits = ("train", "train_covost") if split == "train" else (split,)
    total = lost = 0
    with Lookup(_sentences(validated, note), printable(validated)) as sentences:
        for _, row in read_table(table, ("path", "translation", "split"), note):
            if row["split"] not in splits:
                continue
            found = sentences.get(clip_name(row["path"]))
            sentence, _, speaker = (None, "", "") if found is None else found.rpartition("\t")
            total, lost = total + 1, lost + (found is None)
            yield row["path"], sentence, _unescape(row["translation"]), speaker
    if lost > total * _MOST_LOST:
        raise ManifestError(
            f"{printable(validated)}: lacks {lost} of the {total} clips of {printable(table)}: "
            "CoVoST 2 goes with cv-corpus-4-2019-12-10"
        )


def _sentences(path: Path, note: Note) -> Iterator[tuple[int, str, str]]:
    for number, row in read_table(path, ("path", "sentence", "client_id"), note):
        yield number, clip_name(row["path"]), f"{_unescape(row['sentence'])}\t{row['client_id']}"


def _unescape(cell: str) -> str:
    """The official script reads with a backslash as escape."""
    return re.sub(r"\\(.)", r"\1", cell) if "\\" in cell else cell
