"""Corpora of speech translation -> JSON lines {"id", "lang", "text"}.

`train prepare` joins them to units by id.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from spire_dsu.corpora import open_corpus
from spire_dsu.errors import ManifestError
from spire_dsu.files import write_atomically
from spire_dsu.textio import ignore
from spire_dsu.types import Utterance

_ENGLISH = "en_us"


def write_translations(corpora: Iterable[str], out: Path) -> int:
    """Writes the translations of English recordings.

    Args:
        corpora: "corpus:europarl-st:ROOT:train,target=de",
            "corpus:covost2:ROOT:train,target=zh-CN", or "corpus:fleurs:ROOT:train,lang=de_de" for
            the German text of FLEURS's English recordings.
        out: JSON lines.

    Returns:
        How many were written.

    Raises:
        ManifestError: a corpus cannot be read, or has no translations.
        OSError: the file cannot be written.
    """
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for corpus in corpora:
            before = count
            for name, code, text in _translations(corpus):
                row = {"id": name, "lang": code, "text": text}
                yield json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")
                yield b"\n"
                count += 1
            if count == before:
                raise ManifestError(f"{corpus}: holds no translation")

    write_atomically(out, lines())
    return count


def _translations(corpus: str) -> Iterator[tuple[str, str, str]]:
    """(id, language, translation) of a corpus."""
    if corpus.startswith("corpus:fleurs:"):
        yield from _fleurs(corpus)
        return
    for row in _rows(corpus):
        extra = dict(row.extra)
        if text := extra.get("translation"):
            yield row.id, extra["target"].partition("-")[0], text


def _fleurs(corpus: str) -> Iterator[tuple[str, str, str]]:
    """FLEURS has recordings of one sentence in each language: its text is the translation.

    Of several recordings of a sentence the texts are the same but for corrections; the last counts.
    """
    head, _, option = corpus.rpartition(",lang=")
    if not head or option == _ENGLISH:
        raise ManifestError(f"{corpus}: name the language of the translation, as in ,lang=de_de")
    texts: dict[str, tuple[str, str]] = {}
    for row in _rows(corpus):
        texts[dict(row.extra)["sentence_id"]] = (row.lang or "", row.text or "")
    recordings: dict[str, list[str]] = defaultdict(list)
    for row in _rows(f"{head},lang={_ENGLISH}"):
        recordings[dict(row.extra)["sentence_id"]].append(row.id)
    for sentence, names in recordings.items():
        if sentence in texts:
            for name in names:
                yield name, *texts[sentence]


def _rows(corpus: str) -> Iterator[Utterance]:
    _, read = open_corpus(corpus)
    return read(ignore)
