"""Translations of a corpus as JSON lines, for the sources of `spire-dsu train prepare`.

A conversion's shards hold transcripts. What a corpus says beside them (CoVoST's and Europarl-ST's
translations, FLEURS's same sentence in another language) goes into a file of its own, by id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from spire_dsu.corpora import open_corpus
from spire_dsu.errors import InputError
from spire_dsu.llm.prompts import language
from spire_dsu.storage import AtomicFile
from spire_dsu.textio import ignore
from spire_dsu.types import Utterance


def write_translations(
    corpus: str, lang: str, out: str | os.PathLike[str], sentences: str | None = None
) -> tuple[int, int]:
    """Writes {"id", "lang", "text"} for every utterance that has a translation.

    Args:
        corpus: "corpus:NAME:ROOT:SPLIT[,option=value...]", as `spire-dsu convert` takes it.
        lang: code of the language of the translations.
        out: the file to write.
        sentences: FLEURS: the same split in the other language, joined by the sentence's number;
            None takes the translations that the corpus itself names.

    Returns:
        rows written, and rows of the corpus that have none.

    Raises:
        ConfigError: an unknown language.
        InputError: no row has a translation.
        ManifestError: the corpus cannot be read.
    """
    language(lang)
    texts = None if sentences is None else _by_sentence(sentences)
    written = without = 0
    with AtomicFile(Path(out)) as file:
        for row in _rows(corpus):
            about = dict(row.extra)
            text = about.get("translation") if texts is None else texts.get(about["sentence_id"])
            if not text:
                without += 1
                continue
            line = json.dumps({"id": row.id, "lang": lang, "text": text}, ensure_ascii=False)
            file.write(f"{line}\n".encode())
            written += 1
        if not written:
            raise InputError(
                f"{corpus}: none of {without} rows has a translation"
                + (" of its own; name the corpus of the sentences" if texts is None else "")
            )
    return written, without


def _by_sentence(corpus: str) -> dict[str, str]:
    """Text by number of the sentence; of several recordings of one, all have the same."""
    found = {}
    for row in _rows(corpus):
        number = dict(row.extra).get("sentence_id")
        if number is None:
            raise InputError(f"{corpus}: {row.id!r} has no number of a sentence: only FLEURS has")
        found[number] = row.text or ""
    return found


def _rows(corpus: str) -> Iterator[Utterance]:
    _, read = open_corpus(corpus)
    return read(ignore)
