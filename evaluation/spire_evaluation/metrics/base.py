"""What every metric gives: a score, the sums it is made of, and how it was computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from spire_dsu.config import Config
from spire_dsu.errors import InputError
from spire_evaluation.segments import Joined
from spire_evaluation.significance import Float64, Formula, Test

Metric = Literal["wer", "cer", "spbleu", "bleu", "chrf", "ter", "comet", "cometkiwi", "ner"]
Normalizer = Literal["auto", "whisper-english", "whisper-basic", "whisper-split", "none"]

ENTITY_TYPES = ("Person", "Location", "Group", "Product", "CreativeWorks", "Medical")
"""The entity types of tower-eval's MultiCoNER 2023."""


class MetricConfig(Config):
    """How texts become a score. What a metric does not use, it ignores.

    Attributes:
        lang: language of the texts (the target's, for translation). None: the one that all
            references name; where they name none, English for wer and cer.
        normalizer: for wer and cer; "auto" is Whisper's English normaliser for English, its basic
            one elsewhere, with letters apart where words are not ("whisper-split").
        flores_spm: SentencePiece model of spbleu; None looks where sacrebleu does.
        flores_sha256: what its digest must be; None only records it.
        comet_model: for comet and cometkiwi: a folder, a checkpoint, or a hub id in the cache.
        comet_environment: environment (or interpreter) that has unbabel-comet; None finds it.
        comet_batch_size: segments at once; the last digits of a score can depend on it.
        comet_precision: "fp16" needs a GPU; unbabel-comet's own commands take it, tower-eval not.
        entity_types: for ner; every other tag counts as outside.
    """

    lang: str | None = Field(default=None, min_length=2)
    normalizer: Normalizer = "auto"
    flores_spm: Path | None = None
    flores_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    comet_model: str | None = None
    comet_environment: Path | None = None
    comet_batch_size: int = Field(default=16, ge=1, le=4096)
    comet_precision: Literal["fp32", "fp16"] = "fp32"
    entity_types: tuple[str, ...] = ENTITY_TYPES


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One system on one test set.

    Attributes:
        metric: its name.
        score: in the unit that the metric's own library uses.
        unit: "fraction" (0 is perfect and over 1 is possible for wer and cer; 1 is perfect for
            comet) or "points" (of 100).
        higher_is_better: the direction.
        reads_references: whether the texts of the references take part.
        counts: float64 [N, M], what each segment adds to the sums.
        columns: names of the M sums.
        formula: sums [R, M] -> scores [R]; of all rows' sum it gives `score`.
        test: where the p-value of a comparison comes from.
        signature: one line that says how; equal signatures are comparable scores.
        facts: further JSON values: sums, variants of the score, digests.
        versions: of the libraries that took part.
    """

    metric: Metric
    score: float
    unit: Literal["fraction", "points"]
    higher_is_better: bool
    reads_references: bool
    counts: Float64
    columns: tuple[str, ...]
    formula: Formula
    test: Test
    signature: str
    facts: Mapping[str, JsonValue]
    versions: Mapping[str, str]


# What the languages of the paper are called elsewhere: FLEURS, FLORES-200, Seamless, ISO 639-3.
_PRIMARY = {
    "eng": "en", "deu": "de", "ger": "de", "fra": "fr", "fre": "fr", "spa": "es", "ita": "it",
    "nld": "nl", "dut": "nl", "por": "pt", "rus": "ru", "kor": "ko", "jpn": "ja", "zho": "zh",
    "chi": "zh", "cmn": "zh", "lao": "lo", "mya": "my", "khm": "km",
    "tha": "th",  # codespell:ignore tha
}  # fmt: skip


def language(config: MetricConfig, joined: Joined) -> str | None:
    """The two-letter code of the texts' language: the configured one, or the references' own.

    Raises:
        InputError: nothing is configured and the references name several languages.
    """
    if config.lang is not None:
        return primary(config.lang)
    named = sorted({primary(s.lang) for s in joined.references if s.lang is not None})
    if len(named) > 1:
        raise InputError(f"references in several languages ({', '.join(named)}): name one (--lang)")
    return named[0] if named else None


def primary(lang: str) -> str:
    """ "zho_Hans", "cmn" and "zh-CN" are all "zh"; a code that is not known stays as it is."""
    code = lang.replace("_", "-").split("-")[0].lower()
    return _PRIMARY.get(code, code)
