"""COMET and CometKiwi: the mean of a model's score per segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from spire_dsu.errors import InputError
from spire_dsu.llm.comet import DEFAULT_MODELS, CometDetails, run_comet
from spire_evaluation.metrics.base import Measured, MetricConfig
from spire_evaluation.segments import Joined
from spire_evaluation.significance import Float64

COLUMNS = ("score", "segments")

# Scores are held to 2^-30, finer than the float32 they were: sums of such numbers are exact, so
# that no interval depends on the order in which a matrix product adds.
_GRID = float(1 << 30)


def mean(sums_RM: Float64) -> Float64:
    """Sum of scores over number of segments: sums [R, 2] -> [R]."""
    return sums_RM[:, 0] / np.maximum(sums_RM[:, 1], 1.0)


def measure_many(
    metric: Literal["comet", "cometkiwi"], systems: Sequence[Joined], config: MetricConfig
) -> list[Measured]:
    """COMET-22 or CometKiwi (Rei et al. 2022a, b) of several systems; the model is loaded once.

    "comet" reads source, hypothesis and reference, "cometkiwi" source and hypothesis. The source
    is that of the reference file, so that all systems are judged against the same one: for speech
    translation, the gold transcript. An empty text is scored by the model as it is. The score is
    the mean over segments, near 1 for a perfect translation; the paper prints it times 100.

    Raises:
        InputError: a reference has no source.
        ModelError: the environment or the model is missing or fails.
    """
    run = run_comet(
        [_rows(metric, joined) for joined in systems],
        model=config.comet_model or DEFAULT_MODELS[metric],
        referenceless=metric == "cometkiwi",
        environment=config.comet_environment,
        batch_size=config.comet_batch_size,
        precision=config.comet_precision,
    )
    return [
        _measured(metric, joined, scores, run.details)
        for joined, scores in zip(systems, run.scores, strict=True)
    ]


def _rows(metric: str, joined: Joined) -> list[dict[str, str]]:
    rows = []
    for segment, text in zip(joined.references, joined.hypotheses, strict=True):
        if segment.source is None:
            raise InputError(f"{metric}: reference {segment.id!r} has no source")
        row = {"src": segment.source, "mt": text}
        if metric == "comet":
            row["ref"] = segment.text
        rows.append(row)
    return rows


def _measured(
    metric: Literal["comet", "cometkiwi"],
    joined: Joined,
    scores: Sequence[float],
    details: CometDetails,
) -> Measured:
    on_grid_N = np.round(np.array(scores) * _GRID) / _GRID
    counts_NM = np.stack([on_grid_N, np.ones(len(scores))], axis=1)
    return Measured(
        metric=metric,
        score=float(mean(counts_NM.sum(0)[None])[0]),
        unit="fraction",
        higher_is_better=True,
        reads_references=metric == "comet",
        counts=counts_NM,
        columns=COLUMNS,
        formula=mean,
        test="bootstrap",
        signature=f"{metric}|model:{details.checkpoint_sha256[:12]}"
        f"|precision:{details.precision}|batch:{details.batch_size}"
        f"|unbabel-comet:{details.versions['unbabel-comet']}",
        facts={
            "empty_sources": sum(not (s.source or "").strip() for s in joined.references),
            "model": details.model,
            "model_sha256": details.checkpoint_sha256,
            "model_class": details.model_class,
            "device": details.device,
        },
        versions=details.versions,
    )
