"""Scores and comparisons as plain JSON: what `score` and `compare` print and reports hold."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from spire_dsu.errors import InputError
from spire_dsu.files import write_atomically
from spire_evaluation.metrics import Measured, Metric, MetricConfig, measure, measure_many
from spire_evaluation.segments import Joined
from spire_evaluation.significance import (
    Drawn,
    Resampling,
    Test,
    by_block,
    draw,
    holm,
    interval,
    paired,
)

Json = dict[str, JsonValue]

MOST_SPEAKERS = 100
"""A score of each speaker is told where there are no more of them: crowds are no list to read."""

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
    return _draw([measured], [joined], resampling)[0].json()


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
        answers = list(systems.values())
        scored = _draw(measure_many(metric, answers, config), answers, resampling)
        named = dict(zip(systems, scored, strict=True))
        scores[metric] = {name: each.json() for name, each in named.items()}
        pairs += [
            {"metric": metric, "first": a, "second": b, **named[a].against(named[b], test)}
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


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """A measurement with its draws, by segment and (where there are speakers) by speaker."""

    measured: Measured
    joined: Joined
    resampling: Resampling
    drawn: Drawn
    by_speaker: Drawn | None

    def json(self) -> Json:
        measured, joined = self.measured, self.joined
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
            "resampling": self.resampling.model_dump(mode="json"),
            "interval": dataclasses.asdict(interval(self.drawn, self.resampling)),
        }
        if self.by_speaker is not None:
            spoken = interval(self.by_speaker, self.resampling)
            found["interval_by_speaker"] = dataclasses.asdict(spoken)
            speakers = joined.speakers() or ()
            names = list(dict.fromkeys(speakers))
            if len(names) <= MOST_SPEAKERS:
                alone = measured.formula(by_block(measured.counts, speakers)).tolist()
                found["speakers"] = dict[str, JsonValue](zip(names, alone, strict=True))
        return found | {
            "signature": measured.signature,
            "versions": dict(measured.versions),
            "score": measured.score,
        }

    def against(self, other: _Scored, choice: Choice) -> Json:
        test: Test = self.measured.test if choice == "own" else "randomization"
        compared = functools.partial(
            paired,
            formula=self.measured.formula,
            resampling=self.resampling,
            higher_is_better=self.measured.higher_is_better,
            test=test,
        )
        found: Json = {"test": test, **dataclasses.asdict(compared(self.drawn, other.drawn))}
        if self.by_speaker is not None and other.by_speaker is not None:
            spoken = compared(self.by_speaker, other.by_speaker)
            found["by_speaker"] = dataclasses.asdict(spoken)
        return found


def _draw(
    measured: Sequence[Measured], systems: Sequence[Joined], resampling: Resampling
) -> list[_Scored]:
    counts, formula = [each.counts for each in measured], measured[0].formula
    drawn = draw(counts, formula, resampling)
    spoken: Sequence[Drawn | None] = [None] * len(measured)
    speakers = systems[0].speakers()
    if speakers is not None and len(set(speakers)) > 1:
        spoken = draw([by_block(each, speakers) for each in counts], formula, resampling)
    return [
        _Scored(each, joined, resampling, plain, blocks)
        for each, joined, plain, blocks in zip(measured, systems, drawn, spoken, strict=True)
    ]


def _correct(pairs: Sequence[Json]) -> None:
    """Holm over all pairs; those by speaker are a family of their own, being the same questions."""
    spoken = [block for pair in pairs if isinstance(block := pair.get("by_speaker"), dict)]
    for family in (pairs, spoken):
        p_values = [p for each in family if isinstance(p := each["p_value"], float)]
        for each, corrected in zip(family, holm(p_values), strict=True):
            each["p_holm"] = corrected
