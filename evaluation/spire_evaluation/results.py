"""Scores of every system on every test set, kept test by test so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spire_dsu.config import fingerprint
from spire_dsu.files import write_atomically
from spire_evaluation.config import RunConfig
from spire_evaluation.items import Prediction, TestSet
from spire_evaluation.metrics import Metric, MetricConfig, measure_many
from spire_evaluation.scoring import compare, describe
from spire_evaluation.segments import Joined, Segment, join
from spire_evaluation.significance import holm
from spire_evaluation.systems.base import Answered, file_name

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured.

    Attributes:
        tests: key -> {"systems": {metric: {system: scores}}, "pairs": [...]}; pairs are corrected
            over the whole report.
        extra: key -> {"gold" or "transcripts": {metric: {system: scores}}}, of the cascades.
        answers: system -> its answers.
    """

    tests: dict[str, Json]
    extra: dict[str, Json]
    answers: Mapping[str, list[Answered]]

    def score(self, key: str, metric: str, system: str) -> Json | None:
        """The scores of a system on a test set, or None where it did not answer."""
        found: Json | None = self.tests.get(key, {}).get("systems", {}).get(metric, {}).get(system)
        return found


def score_all(
    config: RunConfig,
    tests: Sequence[TestSet],
    answers: Mapping[str, list[Answered]],
    say: Callable[[str], None],
) -> Results:
    """Scores and compares; what has the same inputs as before is read and not computed."""
    scored: dict[str, Json] = {}
    extra: dict[str, Json] = {}
    for test in tests:
        systems = _joined(test, answers, "")
        if not systems:
            continue
        say(f"scores of {test.key}")
        metrics = config.metrics.get(test.task, [])
        found = _cached(config, test, "", metrics, systems, test.references())
        # Harder versions of a test set make curves: comparing them would dilute the other p-values.
        scored[test.key] = found | {"pairs": []} if "@" in test.key else found
        extra[test.key] = _extra(config, test, metrics, answers)
    _correct(scored)
    return Results(scored, {key: found for key, found in extra.items() if found}, answers)


def _extra(
    config: RunConfig,
    test: TestSet,
    metrics: Sequence[Metric],
    answers: Mapping[str, list[Answered]],
) -> Json:
    """The cascades' translations of gold transcripts, and their own transcripts' errors."""
    found: Json = {}
    gold = _joined(test, answers, "gold")
    if gold:
        found["gold"] = _cached(config, test, "gold", metrics, gold, test.references())["systems"]
    spoken = [
        Segment(item.id, item.source or "", None, item.speaker, test.src) for item in test.items
    ]
    heard = {
        name: join(spoken, _segments(each.predictions), name)
        for name, many in answers.items()
        for each in many
        if (each.label, each.key) == ("transcripts", test.key)
    }
    if heard:
        found["transcripts"] = _cached(config, test, "transcripts", ["wer"], heard, spoken)[
            "systems"
        ]
    return found


def _joined(test: TestSet, answers: Mapping[str, list[Answered]], label: str) -> dict[str, Joined]:
    references = test.references()
    return {
        name: join(references, _segments(each.predictions), name)
        for name, many in answers.items()
        for each in many
        if (each.label, each.key) == (label, test.key)
    }


def _segments(predictions: Sequence[Prediction]) -> list[Segment]:
    return [Segment(each.id, each.text) for each in predictions]


def _cached(
    config: RunConfig,
    test: TestSet,
    label: str,
    metrics: Sequence[Metric],
    systems: Mapping[str, Joined],
    references: Sequence[Segment],
) -> Json:
    path = _path(config.out, test.key, label)
    inputs = _inputs(config, metrics, systems, references)
    if path.is_file():
        before: Json = json.loads(path.read_text(encoding="utf-8"))
        if before.get("inputs_sha256") == inputs:
            return before
    made = {"inputs_sha256": inputs, **_score(config, metrics, systems)}
    write_atomically(path, json.dumps(made, indent=1, ensure_ascii=False).encode() + b"\n")
    # Read back, so that a first and a later run go on with the very same values.
    again: Json = json.loads(path.read_text(encoding="utf-8"))
    return again


def _score(config: RunConfig, metrics: Sequence[Metric], systems: Mapping[str, Joined]) -> Json:
    scoring = config.scoring
    if len(systems) > 1:
        return dict(compare(metrics, systems, scoring, config.resampling))
    ((name, joined),) = systems.items()
    return {"systems": {m: {name: _one(m, joined, scoring, config)} for m in metrics}, "pairs": []}


def _one(metric: Metric, joined: Joined, scoring: MetricConfig, config: RunConfig) -> Json:
    (measured,) = measure_many(metric, [joined], scoring)
    return dict(describe(measured, joined, config.resampling))


def _path(out: Path, key: str, label: str) -> Path:
    return out / "scores" / f"{file_name(key)}{f'.{label}' if label else ''}.json"


def _inputs(
    config: RunConfig,
    metrics: Sequence[Metric],
    systems: Mapping[str, Joined],
    references: Sequence[Segment],
) -> str:
    digest = hashlib.sha256()
    for part in (fingerprint(config.scoring), fingerprint(config.resampling), ",".join(metrics)):
        digest.update(part.encode() + b"\n")
    for segment in references:
        digest.update(repr(segment).encode() + b"\n")
    for name, joined in systems.items():
        digest.update(json.dumps([name, *joined.hypotheses]).encode() + b"\n")
    return digest.hexdigest()


def _correct(scored: Mapping[str, Json]) -> None:
    """Holm over every comparison of the report: its reader looks at all of them."""
    for by in ("p_value", "by_speaker"):
        family = [pair for each in scored.values() for pair in each["pairs"]]
        if by == "by_speaker":
            family = [pair["by_speaker"] for pair in family if "by_speaker" in pair]
        for pair, corrected in zip(family, holm([p["p_value"] for p in family]), strict=True):
            pair["p_holm"] = corrected
