"""BLEU, spBLEU, chrF and TER: sacrebleu counts, and its formulas over many sums at once.

A resampled test set needs the formula but no new count, so the formulas are written here over
arrays; each is held equal to sacrebleu's own, score for score, by the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from spire_dsu.errors import InputError
from spire_evaluation.metrics.base import Measured, Metric, MetricConfig, language
from spire_evaluation.metrics.flores import load_flores
from spire_evaluation.segments import Joined, Segment
from spire_evaluation.significance import Float64, Formula

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreMetric

_ORDER = 4  # longest n-gram of BLEU
_BLEU_COLUMNS = (
    "hypothesis_length",
    "reference_length",
    *(f"correct_{n}" for n in range(1, _ORDER + 1)),
    *(f"total_{n}" for n in range(1, _ORDER + 1)),
)
_CHRF_ORDER = 6
_CHRF_COLUMNS = tuple(
    f"{what}_{n}"
    for n in range(1, _CHRF_ORDER + 1)
    for what in ("hypothesis", "reference", "match")
)
_TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A metric of sacrebleu with what its counts mean."""

    library: SacreMetric
    columns: tuple[str, ...]
    formula: Formula
    facts: Mapping[str, JsonValue] = field(default_factory=dict)


def measure_many(metric: Metric, systems: Sequence[Joined], config: MetricConfig) -> list[Measured]:
    """Scores several systems by bleu, spbleu, chrf or ter.

    The references are tokenized and counted once, however many systems share them.

    Raises:
        InputError: a tokenizer is not there.
    """
    kind = _kind(metric, config, systems[0])
    measured = []
    known: tuple[Segment, ...] | None = None
    for joined in systems:
        if joined.references != known:
            known = joined.references
            # These two are no public functions, but the only way to the counts of each segment,
            # which corpus_score makes, sums and forgets. The tests hold them to corpus_score.
            kind.library._ref_cache = kind.library._cache_references([[s.text for s in known]])
        counts = kind.library._extract_corpus_statistics(joined.hypotheses, None)
        measured.append(_measured(metric, kind, np.array(counts, dtype=np.float64)))
    return measured


def _kind(metric: Metric, config: MetricConfig, joined: Joined) -> Kind:
    if metric == "bleu":
        return bleu(language(config, joined))
    if metric == "spbleu":
        return spbleu(config)
    if metric == "chrf":
        return chrf()
    assert metric == "ter", metric
    return ter()


def bleu(lang: str | None) -> Kind:
    """BLEU of the corpus, 0 to 100, with sacrebleu's tokenizer of the target language.

    zh: "zh"; ja and ko: the mecab ones, extras of sacrebleu; others: 13a. As in tower-eval.

    Raises:
        InputError: sacrebleu lacks the tokenizer of the language.
    """
    from sacrebleu.metrics.bleu import BLEU

    name = _TOKENIZERS.get(lang or "", "13a")
    try:
        library = BLEU(tokenize=name)
    except (ImportError, RuntimeError) as error:
        extra = f"pip install 'sacrebleu[{lang}]'"
        raise InputError(f"bleu: tokenizer {name!r} is not installed: {extra}") from error
    return Kind(library, _BLEU_COLUMNS, bleu_formula)


def spbleu(config: MetricConfig) -> Kind:
    """BLEU over the pieces of the FLORES-200 SentencePiece model, 0 to 100; for any language.

    Raises:
        InputError: the model file is missing, or not the one that is asked for.
    """
    from sacrebleu.metrics.bleu import BLEU

    flores = load_flores(config.flores_spm, config.flores_sha256)
    library = BLEU(tokenize="none")
    library.tokenizer = flores.tokenizer
    library.tokenizer_signature = flores.tokenizer.signature()
    facts: dict[str, JsonValue] = {
        "tokenizer_sha256": flores.sha256,
        "tokenizer_verified": config.flores_sha256 is not None,
    }
    return Kind(library, _BLEU_COLUMNS, bleu_formula, facts)


def chrf() -> Kind:
    """chrF (character order 6, no words, beta 2) of the corpus, 0 to 100."""
    from sacrebleu.metrics.chrf import CHRF

    return Kind(CHRF(), _CHRF_COLUMNS, chrf_formula)


def ter() -> Kind:
    """Translation edit rate, in points of 100 (over 100 is possible), as tower-eval scores APE.

    Lower-cased, no normalisation, words are what white space separates: in Chinese that is a
    whole sentence, so compare no languages by it.
    """
    from sacrebleu.metrics.ter import TER

    # Asian support is in tower-eval's signature; without normalisation it changes nothing.
    return Kind(TER(asian_support=True), ("edits", "reference_length"), ter_formula)


def bleu_formula(sums_RM: Float64) -> Float64:
    """BLEU with exponential smoothing: sums [R, 10] -> scores [R].

    Each order without a match counts half as much as the one before would (1/2, 1/4, ... of a
    match); no match at all, or no n-gram of an order at all, is 0 (sacrebleu, NIST's method 3).
    """
    length_R, reference_R = sums_RM[:, 0], sums_RM[:, 1]
    correct_RO, total_RO = sums_RM[:, 2 : 2 + _ORDER], sums_RM[:, 2 + _ORDER :]
    halvings_RO = np.cumsum(correct_RO == 0, axis=1)
    matches_RO = np.where(correct_RO == 0, 0.5**halvings_RO, correct_RO)
    scored_R = (correct_RO > 0).any(1) & (total_RO > 0).all(1)
    precisions_RO = 100.0 * matches_RO / np.maximum(total_RO, 1.0)
    brevity_R = np.exp(np.minimum(0.0, 1.0 - reference_R / np.maximum(length_R, 1.0)))
    return np.where(scored_R, brevity_R * np.exp(np.log(precisions_RO).mean(1)), 0.0)


def chrf_formula(sums_RM: Float64) -> Float64:
    """F-beta (beta 2) of mean precision and mean recall over the orders: sums [R, 18] -> [R].

    An order that one side has no n-gram of does not take part.
    """
    hypothesis_RO, reference_RO, match_RO = (sums_RM[:, part::3] for part in range(3))
    present_RO = (hypothesis_RO > 0) & (reference_RO > 0)
    orders_R = np.maximum(present_RO.sum(1), 1)
    precision_R = (match_RO / np.maximum(hypothesis_RO, 1.0) * present_RO).sum(1) / orders_R
    recall_R = (match_RO / np.maximum(reference_RO, 1.0) * present_RO).sum(1) / orders_R
    weighted_R = 4.0 * precision_R + recall_R
    scores_R: Float64 = 500.0 * precision_R * recall_R / np.where(weighted_R > 0, weighted_R, 1.0)
    return scores_R


def ter_formula(sums_RM: Float64) -> Float64:
    """Edits per reference word in points: sums [R, 2] -> [R]; 100 for edits without any word."""
    edits_R, length_R = sums_RM[:, 0], sums_RM[:, 1]
    empty_R = np.where(edits_R > 0, 1.0, 0.0)
    return 100.0 * np.where(length_R > 0, edits_R / np.maximum(length_R, 1.0), empty_R)


def _measured(metric: Metric, kind: Kind, counts_NM: Float64) -> Measured:
    return Measured(
        metric=metric,
        score=float(kind.formula(counts_NM.sum(0)[None])[0]),
        unit="points",
        higher_is_better=metric != "ter",
        reads_references=True,
        counts=counts_NM,
        columns=kind.columns,
        formula=kind.formula,
        test="sacrebleu-bootstrap",
        signature=str(kind.library.get_signature()),
        facts=kind.facts,
        versions={"sacrebleu": version("sacrebleu")},
    )
