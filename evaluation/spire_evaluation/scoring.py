"""Scores and comparisons as plain JSON: what `score` and `compare` print and reports hold."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from spire_dsu.errors import InputError
from spire_dsu.files import write_atomically
from spire_evaluation.metrics import Measured, Metric, MetricConfig, measure, measure_many
from spire_evaluation.segments import Joined
from spire_evaluation.significance import (
    Float64,
    Interval,
    Paired,
    Resampling,
    Test,
    by_block,
    holm,
    interval,
    paired,
)

Json = dict[str, JsonValue]
Choice = Literal["own", "randomization"]
"""Which p-value: the metric's own bootstrap, or approximate randomisation for all of them."""


def score(
    metric: Metric, joined: Joined, config: MetricConfig, resampling: Resampling
) -> tuple[Json, Measured]:
    """One system: the score with its interval, counts, signature and versions.

    Returns:
        A JSON object whose last key is `score`, and the measurement with the counts per segment.

    Raises:
        InputError, ModelError: what the metric says about its texts and files.
    """
    measured = measure(metric, joined, config)
    return describe(measured, joined, resampling), measured


def describe(measured: Measured, joined: Joined, resampling: Resampling) -> Json:
    """What `score` prints, of a measurement that was made already."""
    sums: Json = {
        name: int(value) if value.is_integer() else float(value)
        for name, value in zip(measured.columns, measured.counts.sum(0), strict=True)
    }
    found: Json = {
        "metric": measured.metric,
        "unit": measured.unit,
        "segments": len(joined),
        **({"empty_references": joined.empty_references} if measured.reads_references else {}),
        "empty_hypotheses": joined.empty_hypotheses,
        "sums": sums,
        **measured.facts,
        "resampling": resampling.model_dump(mode="json"),
        "interval": _interval(interval(measured.counts, measured.formula, resampling)),
    }
    blocks = _blocks([measured], joined)
    if blocks is not None:
        found["interval_by_speaker"] = _interval(interval(blocks[0], measured.formula, resampling))
    return found | {
        "signature": measured.signature,
        "versions": dict(measured.versions),
        "score": measured.score,
    }


def compare(
    metrics: Sequence[Metric],
    systems: Mapping[str, Joined],
    config: MetricConfig,
    resampling: Resampling,
    test: Choice = "own",
) -> Json:
    """Every pair of systems on the same references, under the same draws.

    Args:
        metrics: names, one after the other.
        systems: name -> the same references with this system's hypotheses; two at least.
        config, resampling: as for `score`.
        test: "own" is sacrebleu's paired bootstrap for bleu, spbleu, chrf and ter, and the share
            of draws as far off for the others; "randomization" is sacrebleu's for every metric.

    Returns:
        `systems`: metric -> name -> what `score` gives; `pairs`: one object per metric and pair,
        with `p_value` as tested and `p_holm` as corrected over all pairs and metrics here
        (`p_holm_by_speaker` likewise, where all references have speakers).

    Raises:
        InputError: fewer than two systems, references that differ, or what a metric says.
    """
    first = next(iter(systems.values()), None)
    if first is None or len(systems) < 2:
        raise InputError(f"a comparison needs two systems at least, not {len(systems)}")
    for name, joined in systems.items():
        if joined.references != first.references:
            raise InputError(f"system {name!r} was joined to other references")
    scores: Json = {}
    pairs: list[Json] = []
    for metric in dict.fromkeys(metrics):
        measured = measure_many(metric, list(systems.values()), config)
        named = dict(zip(systems, measured, strict=True))
        scores[metric] = {n: describe(m, systems[n], resampling) for n, m in named.items()}
        blocks = _blocks(measured, first)
        sums = dict(zip(systems, blocks, strict=True)) if blocks is not None else None
        pairs += [
            _pair(a, b, named, sums, resampling, test)
            for a, b in itertools.combinations(systems, 2)
        ]
    _correct(pairs)
    return {
        "resampling": resampling.model_dump(mode="json"),
        "systems": scores,
        "pairs": list[JsonValue](pairs),
    }


def write_segments(path: Path, joined: Joined, measured: Measured) -> None:
    """Writes what each segment adds: JSON lines with `id`, the counts by name, and `score`.

    The score is that of the segment alone, which is not what the corpus score is a mean of.

    Raises:
        OSError: the file cannot be written.
    """
    alone = measured.formula(measured.counts)
    lines = []
    for segment, counts, value in zip(joined.references, measured.counts, alone, strict=True):
        row = {"id": segment.id} | dict(zip(measured.columns, counts.tolist(), strict=True))
        lines.append(json.dumps(row | {"score": float(value)}, ensure_ascii=False) + "\n")
    write_atomically(path, "".join(lines).encode())


def _pair(
    a: str,
    b: str,
    named: Mapping[str, Measured],
    blocks: Mapping[str, Float64] | None,
    resampling: Resampling,
    choice: Choice,
) -> Json:
    one, two = named[a], named[b]
    test: Test = one.test if choice == "own" else "randomization"

    def run(first: Float64, second: Float64) -> Paired:
        return paired(
            first,
            second,
            one.formula,
            resampling,
            higher_is_better=one.higher_is_better,
            test=test,
        )

    found: Json = {
        "metric": one.metric,
        "first": a,
        "second": b,
        "test": test,
        **_paired(run(one.counts, two.counts)),
    }
    if blocks is not None:
        found["by_speaker"] = _paired(run(blocks[a], blocks[b]))
    return found


def _correct(pairs: Sequence[Json]) -> None:
    """Holm over all pairs; those by speaker are a family of their own, being the same questions."""
    spoken = [block for pair in pairs if isinstance(block := pair.get("by_speaker"), dict)]
    for family in (pairs, spoken):
        p_values = [p for each in family if isinstance(p := each["p_value"], float)]
        for each, corrected in zip(family, holm(p_values), strict=True):
            each["p_holm"] = corrected


def _blocks(measured: Sequence[Measured], joined: Joined) -> list[Float64] | None:
    """Sums by speaker; None where a speaker is not known, or there is one alone."""
    speakers = joined.speakers()
    if speakers is None or len(set(speakers)) < 2:
        return None
    return [by_block(each.counts, speakers) for each in measured]


def _interval(found: Interval) -> Json:
    return dict(dataclasses.asdict(found))


def _paired(found: Paired) -> Json:
    return dict(dataclasses.asdict(found))
