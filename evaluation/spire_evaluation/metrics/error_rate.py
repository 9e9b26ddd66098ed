"""WER and CER: errors of the best alignment over the words (characters) of the references.

The alignment is jiwer's. The rate is that of the corpus: all errors over all reference words, not
a mean over utterances.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np

from spire_dsu.errors import InputError
from spire_dsu.files import sha256_of_file
from spire_evaluation.metrics.base import Measured, MetricConfig, language
from spire_evaluation.metrics.normalize import SPELLINGS, UNSPACED, cleaner, resolve
from spire_evaluation.segments import Joined
from spire_evaluation.significance import Float64

if TYPE_CHECKING:
    import jiwer

COLUMNS = ("substitutions", "deletions", "insertions", "reference_length")


def rate(sums_RM: Float64) -> Float64:
    """(S + D + I) / reference length; jiwer's rule, the insertions alone, where that is 0."""
    rates_R: Float64 = sums_RM[:, :3].sum(1) / np.maximum(sums_RM[:, 3], 1.0)
    return rates_R


def measure(metric: Literal["wer", "cer"], joined: Joined, config: MetricConfig) -> Measured:
    """Word or character error rate as a fraction, after normalisation.

    An empty reference counts the words of its hypothesis as insertions and adds nothing to the
    denominator; an empty hypothesis counts the words of its reference as deletions. For cer, a
    space between words is a character, but in languages written without spaces none counts.

    Raises:
        InputError: no reference has a word left after normalisation.
    """
    import jiwer

    lang = language(config, joined) or "en"
    normalizer = resolve(config.normalizer, lang)
    clean = cleaner(normalizer)
    references = [clean(segment.text) for segment in joined.references]
    hypotheses = [clean(text) for text in joined.hypotheses]
    unspaced = metric == "cer" and lang in UNSPACED
    if unspaced:
        references = [text.replace(" ", "") for text in references]
        hypotheses = [text.replace(" ", "") for text in hypotheses]
    process = jiwer.process_words if metric == "wer" else jiwer.process_characters
    aligned = process(references, hypotheses)
    counts_NM = _counts(aligned)
    sums_M = counts_NM.sum(0)
    if sums_M[3] == 0:
        raise InputError(
            f"{metric}: none of the {len(joined)} references has a word after normalisation by "
            f"{normalizer}"
        )
    spelling = f"|spellings:{sha256_of_file(SPELLINGS)[:12]}"
    return Measured(
        metric=metric,
        score=float(rate(sums_M[None])[0]),
        unit="fraction",
        higher_is_better=False,
        reads_references=True,
        counts=counts_NM,
        columns=COLUMNS,
        formula=rate,
        test="bootstrap",
        signature=f"{metric}|lang:{lang}|norm:{normalizer}"
        f"{spelling if normalizer == 'whisper-english' else ''}"
        f"{'|spaces:no' if unspaced else ''}|jiwer:{version('jiwer')}"
        f"|transformers:{version('transformers')}",
        facts={
            "empty_references_after_normalization": sum(not text for text in references),
            "empty_hypotheses_after_normalization": sum(not text for text in hypotheses),
            "hypothesis_length": int(sums_M[3] - sums_M[1] + sums_M[2]),
        },
        versions={name: version(name) for name in ("jiwer", "rapidfuzz", "transformers")},
    )


def _counts(aligned: jiwer.WordOutput | jiwer.CharacterOutput) -> Float64:
    counts_NM = np.zeros((len(aligned.references), 4))
    for row, (reference, chunks) in enumerate(
        zip(aligned.references, aligned.alignments, strict=True)
    ):
        counts_NM[row, 3] = len(reference)
        for chunk in chunks:
            if chunk.type == "substitute":
                counts_NM[row, 0] += chunk.ref_end_idx - chunk.ref_start_idx
            elif chunk.type == "delete":
                counts_NM[row, 1] += chunk.ref_end_idx - chunk.ref_start_idx
            elif chunk.type == "insert":
                counts_NM[row, 2] += chunk.hyp_end_idx - chunk.hyp_start_idx
    return counts_NM
