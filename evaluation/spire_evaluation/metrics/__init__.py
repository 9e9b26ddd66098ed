"""Metrics: each takes references with hypotheses and gives a score with the sums it is made of.

error_rate   wer, cer                 normalize  Whisper's normalisers
ngram        bleu, spbleu, chrf, ter  flores     spBLEU's tokenizer
neural       comet, cometkiwi
entities     ner
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from spire_dsu.errors import InputError
from spire_evaluation.metrics.base import ENTITY_TYPES, Measured, Metric, MetricConfig
from spire_evaluation.segments import Joined

__all__ = [
    "ENTITY_TYPES",
    "TEXTLESS",
    "Measured",
    "Metric",
    "MetricConfig",
    "known_metric",
    "measure",
    "measure_many",
]


TEXTLESS = frozenset({"cometkiwi", "ner"})
"""Metrics whose references need no text."""

_EXTRA = {"jiwer", "rapidfuzz", "sacrebleu", "sentencepiece"}


def known_metric(name: str) -> Metric:
    """The name, checked.

    Raises:
        InputError: there is no such metric.
    """
    names = get_args(Metric)
    if name not in names:
        raise InputError(f"unknown metric {name!r}: use one of {', '.join(names)}")
    return cast("Metric", name)


def measure(metric: Metric, joined: Joined, config: MetricConfig) -> Measured:
    """Scores one system.

    Args:
        metric: its name.
        joined: N references with hypotheses.
        config: language, normaliser, model files.

    Raises:
        InputError, ModelError: what the metric says about its texts and files.
    """
    return measure_many(metric, [joined], config)[0]


def measure_many(metric: Metric, systems: Sequence[Joined], config: MetricConfig) -> list[Measured]:
    """Scores several systems, in order; a model that has to be loaded is loaded once."""
    try:
        return _measure_many(metric, systems, config)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRA:
            raise
        raise InputError(
            f"{metric} needs {package}, which is not installed: pip install 'spire-dsu[eval]'"
        ) from error


def _measure_many(
    metric: Metric, systems: Sequence[Joined], config: MetricConfig
) -> list[Measured]:
    # Imported when called for: each metric brings a library of its own.
    if metric in ("comet", "cometkiwi"):
        from spire_evaluation.metrics import neural

        return neural.measure_many(metric, systems, config)
    if metric == "ner":
        from spire_evaluation.metrics import entities

        return [entities.ner(joined, config) for joined in systems]
    if metric in ("wer", "cer"):
        from spire_evaluation.metrics import error_rate

        return [error_rate.measure(metric, joined, config) for joined in systems]
    from spire_evaluation.metrics import ngram

    return ngram.measure_many(metric, systems, config)
