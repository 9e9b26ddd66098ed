"""What a score alone does not tell: how answers ended, whose a cascade's errors are, units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from spire_dsu.types import FRAME_SECONDS
from spire_evaluation.items import SPEECH, TestSet
from spire_evaluation.report.tables import percent
from spire_evaluation.results import Results
from spire_evaluation.speech import UnitTable

Json = dict[str, Any]
LONG_PROMPT = 4096
"""Tokens of the paper's longest training sequence."""


def lengths(tests: Sequence[TestSet], results: Results) -> list[Json]:
    """How answers ended, for each system and test set.

    `cut` were stopped by the limit of new tokens, `stopped` at a stop text, `long_prompts` were
    longer than any training sequence, `too_long` left no room for an answer, `no_speech` had no
    units or could not be decoded. None where a system does not tell.
    """
    keys = [test.key for test in tests]
    rows = []
    for system, many in results.answers.items():
        for each in sorted((a for a in many if not a.label), key=lambda a: keys.index(a.key)):
            counts = Counter(p.finish for p in each.predictions)
            told = any(p.answer_tokens is not None for p in each.predictions)
            prompts = [p.prompt_tokens for p in each.predictions if p.prompt_tokens is not None]
            tokens = [n for p in each.predictions if (n := p.answer_tokens) is not None]
            rows.append(
                {
                    "system": system,
                    "test": each.key,
                    "answers": len(each.predictions),
                    "empty": sum(not p.text for p in each.predictions),
                    "cut": counts["length"] if told else None,
                    "stopped": counts["stop"] if told else None,
                    "long_prompts": sum(p > LONG_PROMPT for p in prompts) if told else None,
                    "too_long": counts["too long"],
                    "no_speech": counts["no speech"],
                    "mean_tokens": float(np.mean(tokens)) if tokens else None,
                    "longest_prompt": max(prompts, default=None),
                }
            )
    return rows


def cascades(tests: Sequence[TestSet], results: Results) -> list[Json]:
    """For each cascade and metric: its score, that of translating the gold transcript, the
    difference, which is ASR's, and the error rate of its transcripts.
    """
    rows = []
    for test in tests:
        extra = results.extra.get(test.key, {})
        for metric, systems in extra.get("gold", {}).items():
            for name, gold in systems.items():
                score = results.score(test.key, metric, name)
                if score is None:
                    continue
                cascade, whole = (percent(s["score"], s["unit"]) for s in (score, gold))
                heard = extra.get("transcripts", {}).get("wer", {}).get(name)
                rows.append(
                    {
                        "system": name,
                        "test": test.key,
                        "metric": metric,
                        "cascade": cascade,
                        "gold_transcript": whole,
                        "lost_by_asr": whole - cascade,
                        "transcript_wer": percent(heard["score"], "fraction") if heard else None,
                    }
                )
    return rows


def unit_rates(tests: Sequence[TestSet], results: Results, units: UnitTable) -> list[Json]:
    """Units of each speech test set: how many a second, how much merging of runs saves, and the
    word errors of each system by how much it saved (four groups of recordings, least first).
    """
    rows = []
    for test in tests:
        if test.task not in SPEECH or test.key not in units.facts:
            continue
        spoken = [units.of(test, item) for item in test.items]
        frames = sum(s.frames for s in spoken)
        count = sum(s.units.size for s in spoken)
        used = np.unique(np.concatenate([s.units for s in spoken])).size if count else 0
        seconds = frames * FRAME_SECONDS
        rows.append(
            {
                "test": test.key,
                "recordings": len(spoken),
                "without_units": dict(
                    sorted(Counter(s.status for s in spoken if s.status != "ok").items())
                ),
                "seconds": seconds,
                "units_per_second": count / seconds if seconds else None,
                "frames_per_unit": frames / count if count else None,
                "units_used": int(used),
                "units_known": units.num_units[test.key],
                "wer_by_merging": _by_merging(test, results, units) if test.task == "asr" else {},
            }
        )
    return rows


def _by_merging(test: TestSet, results: Results, units: UnitTable) -> dict[str, list[float | None]]:
    """system -> WER of the four quarters of the recordings, by frames per unit."""
    from spire_evaluation.metrics import MetricConfig, measure
    from spire_evaluation.segments import Segment, join

    ratios = {}
    for item in test.items:
        spoken = units.of(test, item)
        if spoken.units.size:
            ratios[item.id] = spoken.frames / spoken.units.size
    quarter = {
        name: 4 * place // len(ratios)
        for place, name in enumerate(sorted(ratios, key=lambda name: (ratios[name], name)))
    }
    found: dict[str, list[float | None]] = {}
    for system, many in results.answers.items():
        for each in many:
            if each.label or each.key != test.key:
                continue
            answers = [Segment(p.id, p.text) for p in each.predictions]
            measured = measure("wer", join(test.references(), answers, system), MetricConfig())
            groups = np.array([quarter.get(item.id, -1) for item in test.items])
            sums = [measured.counts[groups == k].sum(0)[None] for k in range(4)]
            found[system] = [
                percent(float(measured.formula(s)[0]), "fraction") if s[0, -1] else None
                for s in sums
            ]
    return found


def curves(tests: Sequence[TestSet], results: Results) -> list[Json]:
    """Word errors under noise and at other speeds: a point for each harder version of a test set.

    Each curve begins with the recordings as they are: speed 1, and noise None.
    """
    rows: list[Json] = []
    for base in tests:
        versions = [t.key for t in tests if t.key.startswith(f"{base.key}@")]
        for what in ("noise", "speed"):
            start = f"{base.key}@{what}"
            levels = {float(k.removeprefix(start)): k for k in versions if k.startswith(start)}
            if not levels:
                continue
            for system in results.tests.get(base.key, {}).get("systems", {}).get("wer", {}):
                points: list[Json] = [
                    {"at": level, "wer": _wer(results, levels[level], system)}
                    for level in sorted(levels)
                ]
                plain = {"at": 1.0 if what == "speed" else None}
                points.insert(0, plain | {"wer": _wer(results, base.key, system)})
                rows.append({"test": base.key, "system": system, "change": what, "points": points})
    return rows


def _wer(results: Results, key: str, system: str) -> float | None:
    found = results.score(key, "wer", system)
    return percent(found["score"], "fraction") if found else None
