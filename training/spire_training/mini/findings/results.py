"""RESULTS.json: the miniature's figures, tables, findings and gates, beside the encoder's figures.

One file holds both halves: `figures` is flat and of both, `encoder` is what else the encoder's
recipe writes (`spire_training.encoder.package`), everything else is written here. Each recipe
replaces its own half and keeps the other.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spire_training.mini.findings.measured import FIGURES, MINUTES, Report, Score, figures
from spire_training.mini.findings.verdicts import Finding, Gate, Judged

Json = dict[str, Any]


def results(
    report: Report,
    findings: Sequence[Finding],
    gates: Sequence[Gate],
    seconds: dict[str, float],
    before: Json,
) -> Json:
    """The content of RESULTS.json.

    Args:
        report: what was measured.
        findings, gates: judged by it.
        seconds: by stage.
        before: the recipe's present file, whose other half is kept; empty where there is none.
    """
    own = {*FIGURES, MINUTES}
    kept = {name: value for name, value in before.get("figures", {}).items() if name not in own}
    made: Json = {
        "name": "mini",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "figures": kept | figures(report, seconds),
        "gates": [_gate(gate) for gate in gates],
        "findings": [_finding(finding) for finding in findings],
        "tables": _tables(report),
        "seconds": seconds,
        "machine": {"cpu": _processor(), "cores": len(os.sched_getaffinity(0))},
    }
    return made | ({"encoder": before["encoder"]} if "encoder" in before else {})


def _gate(gate: Gate) -> Json:
    return {
        "name": gate.name,
        "says": gate.says,
        "required": _rounded(gate.required),
        "reached": _rounded(gate.reached),
        "met": gate.met,
    }


def _finding(finding: Finding) -> Json:
    return {
        "id": finding.claim.id,
        "says": finding.claim.says,
        "verdict": finding.verdict,
        "not_measured": list(finding.missing),
        "paper": [
            {"table": cell.table, "column": cell.column, **cell.values}
            for cell in finding.claim.paper
        ],
        "comparisons": [_judged(each) for each in finding.judged],
    }


def _judged(each: Judged) -> Json:
    return {
        "test": each.test,
        "metric": each.check.metric,
        "rule": each.check.rule,
        "system": {"name": each.check.system, **_score(each.score)},
        "other": {"name": each.check.other, **_score(each.other)},
        "points_worse": _rounded(each.by.worse),
        "interval": [_rounded(each.by.low), _rounded(each.by.high)],
        "p_value": _rounded(each.by.p_value),
        "p_holm": _rounded(each.p_holm),
        "verdict": each.verdict,
    }


def _tables(report: Report) -> Json:
    tables: Json = {}
    for test, metric, system, score in report.all_scores():
        tables.setdefault(test, {}).setdefault(metric, {})[system] = _score(score)
    return tables


def _score(score: Score) -> Json:
    return {
        "score": _rounded(score.value),
        "low": _rounded(score.low),
        "high": _rounded(score.high),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _processor() -> str:
    """The processor's name where the system tells it, otherwise its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
