"""Test sets of speech, through the readers of the corpora.

Which text is the reference: LibriSpeech's `text`, FLEURS's raw transcription, VoxPopuli's
normalised text (as the authors' code scores them), the translation of the same sentence for ST.
"""

from __future__ import annotations

from collections.abc import Iterable

from spire_dsu.corpora.covost2 import read_covost2
from spire_dsu.corpora.fleurs import read_fleurs
from spire_dsu.corpora.librispeech import read_librispeech
from spire_dsu.corpora.voxpopuli import read_voxpopuli
from spire_dsu.errors import InputError
from spire_dsu.types import Utterance
from spire_evaluation.config import TestConfig
from spire_evaluation.items import Item
from spire_evaluation.tasks.text import flores_lines

_FLEURS = {
    "en": "en_us",
    "de": "de_de",
    "es": "es_419",
    "fr": "fr_fr",
    "it": "it_it",
    "ko": "ko_kr",
    "nl": "nl_nl",
    "pt": "pt_br",
    "ru": "ru_ru",
    "zh": "cmn_hans_cn",
}
_MOST_NAMED = 3


def librispeech(config: TestConfig, src: str, part: str) -> list[Item]:
    """A part of LibriSpeech."""
    del src
    return [_asr(row, row.text) for row in read_librispeech(config.folder, part)]


def fleurs(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """FLEURS's test split of one language."""
    del tgt
    return [_asr(row, row.text) for row in read_fleurs(config.folder, "test", lang=_FLEURS[src])]


def voxpopuli(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """VoxPopuli's test split of one language."""
    del tgt
    rows = read_voxpopuli(config.folder, "test", lang=src)
    return [_asr(row, dict(row.extra).get("normalized_text", "")) for row in rows]


def covost2(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """CoVoST-2's test split from English."""
    target = "zh-CN" if tgt == "zh" else tgt
    rows = read_covost2(config.folder, "test", target=target, source=src)
    return [_st(row, dict(row.extra)["translation"]) for row in rows]


def fleurs_st(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """FLEURS's test recordings with the translation of their sentence.

    Raises:
        InputError: a sentence has no translation there; names some.
    """
    rows = list(read_fleurs(config.folder, "test", lang=_FLEURS[src]))
    if config.references is not None:
        lines = flores_lines(config.references, "devtest", src, tgt)
        found = dict(lines)
        translations = [found.get(row.text or "") for row in rows]
    else:
        # A sentence has several recordings, and all of them have its one text.
        others = read_fleurs(config.folder, "test", lang=_FLEURS[tgt])
        texts = {dict(row.extra)["sentence_id"]: row.text for row in others}
        translations = [texts.get(dict(row.extra)["sentence_id"]) for row in rows]
    missing = [row for row, text in zip(rows, translations, strict=True) if text is None]
    if missing and config.references is not None:
        raise InputError(
            f"fleurs-st: {len(missing)} of {len(rows)} sentences are no line of FLORES's devtest "
            f"in {config.references}: {_named(row.text or '' for row in missing)}"
        )
    # Without FLORES, sentences that nobody read in the other language drop out, as in FLEURS's use.
    pairs = zip(rows, translations, strict=True)
    return [_st(row, text) for row, text in pairs if text is not None]


def _asr(row: Utterance, reference: str | None) -> Item:
    return Item(row.id, reference or "", source=reference, speech=row, speaker=row.speaker)


def _st(row: Utterance, translation: str) -> Item:
    return Item(row.id, translation, source=row.text, speech=row, speaker=row.speaker)


def _named(texts: Iterable[str]) -> str:
    return "; ".join(repr(text) for text in list(texts)[:_MOST_NAMED])
