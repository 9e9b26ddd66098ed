"""Whisper's text normalisers, which the paper applies before WER.

The classes are those of transformers; the table of British spellings that they need is not in its
wheel, so it lies here (`whisper_english.json`, MIT, from openai/whisper).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

from spire_evaluation.metrics.base import Normalizer

SPELLINGS = Path(__file__).with_name("whisper_english.json")

UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km"})
"""Languages written without spaces between words: there, Whisper's paper scores letters."""

Clean = Callable[[str], str]


def resolve(normalizer: Normalizer, lang: str) -> Normalizer:
    """What "auto" stands for in a language."""
    if normalizer != "auto":
        return normalizer
    if lang == "en":
        return "whisper-english"
    return "whisper-split" if lang in UNSPACED else "whisper-basic"


@functools.cache
def cleaner(normalizer: Normalizer) -> Clean:
    """The function that normalises one text; its words are then separated by single spaces.

    A text is normalised once however many systems are compared on it: results are kept.
    """
    return functools.lru_cache(maxsize=1 << 16)(_spaced(_library(normalizer)))


def _library(normalizer: Normalizer) -> Clean:
    if normalizer == "none":
        return str
    from transformers.models.whisper.english_normalizer import (
        BasicTextNormalizer,
        EnglishTextNormalizer,
    )

    if normalizer == "whisper-english":
        spellings = json.loads(SPELLINGS.read_text(encoding="utf-8"))
        clean: Clean = EnglishTextNormalizer(spellings)  # type: ignore[no-untyped-call]
    elif normalizer == "whisper-split":
        clean = BasicTextNormalizer(split_letters=True)
    else:
        assert normalizer == "whisper-basic", normalizer
        clean = BasicTextNormalizer()
    return clean


def _spaced(clean: Clean) -> Clean:
    return lambda text: " ".join(clean(text).split())
