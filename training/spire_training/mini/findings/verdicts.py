"""From comparisons to verdicts, by rules that are written here and printed beside every verdict.

p-values are corrected by Holm's method over the comparisons that the findings name, and no others:
they were named before any model had answered. (Over every pair of systems of a report no p-value of
10,000 draws could ever be small enough.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spire_training.mini.findings.claims import (
    CLAIMS,
    CLEAN,
    FULL,
    MT,
    ST,
    Check,
    Claim,
    Rule,
)
from spire_training.mini.findings.measured import Comparison, Report, Score

Verdict = Literal["held", "not held", "not decided", "not measured"]

LEVEL = 0.05
SMALL = 1.0  # points: nobody would act on less
LARGE = 5.0  # points: the paper's own losses are 5.1 (spBLEU, finding c) and 5.3 (WER, finding a)

RULES: dict[Rule, str] = {
    "better": f"Better: held if better with corrected p < {LEVEL}, not held if worse with "
    f"corrected p < {LEVEL}, otherwise not decided.",
    "unchanged": f"Unchanged: not held if worse by {SMALL:g} point or more with corrected "
    f"p < {LEVEL}; held if the interval of the loss ends below {LARGE:g} points, and contains 0 or "
    f"the loss is under {SMALL:g} point; otherwise not decided. Points are of spBLEU, or of WER in "
    "percent.",
    "collapses": "Collapses: held if the interval ends at or below half of the other system's "
    "score, not held if it begins above it, otherwise not decided.",
}
ALL = "A finding is held if all its comparisons are, not held if one is not, otherwise not decided."
MOSTLY = (
    "Finding f, which the paper itself has on three of four test sets: held if more comparisons "
    "are held than not, not held if as many or more are not, not decided if none is decided."
)
SPEAKERS = (
    "Where the speakers are known, utterances and speakers are resampled, and the larger p-value "
    "and the wider interval count."
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One comparison of a finding, with its verdict.

    Attributes:
        p_holm: corrected over all comparisons of all findings.
    """

    check: Check
    test: str
    score: Score
    other: Score
    by: Comparison
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim with what was measured for it; `missing` names what was not."""

    claim: Claim
    judged: tuple[Judged, ...]
    missing: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Gate:
    """A figure and what it has to reach; both None where a number is missing.

    Attributes:
        required: the limit, in the unit of `reached`.
        met: None where it was not measured.
    """

    name: str
    says: str
    reached: float | None
    required: float | None
    met: bool | None


def judge(report: Report, claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """Every claim, in order."""
    asked = [
        (claim, check, test) for claim in claims for check in claim.checks for test in check.tests
    ]
    found = [_measured(report, check, test) for _, check, test in asked]
    corrected = iter(holm([each[2].p_value for each in found if each]))
    findings = []
    rows = list(zip(asked, found, strict=True))
    for claim in claims:
        judged, missing = [], []
        for (_, check, test), each in (row for row in rows if row[0][0] is claim):
            if each is None:
                missing.append(f"{check.metric} of {check.system} and {check.other} on {test}")
                continue
            score, other, by = each
            p_holm = next(corrected)
            verdict = _verdict(check.rule, score, other, by, p_holm)
            judged.append(Judged(check, test, score, other, by, p_holm, verdict))
        verdict = "not measured" if missing else together(claim, [each.verdict for each in judged])
        findings.append(Finding(claim, tuple(judged), tuple(missing), verdict))
    return findings


def together(claim: Claim, verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim, of those on its comparisons: `ALL`, or `MOSTLY`."""
    held, failed = verdicts.count("held"), verdicts.count("not held")
    if claim.mostly:
        return "not decided" if held == failed == 0 else "held" if held > failed else "not held"
    return "not held" if failed else "held" if held == len(verdicts) else "not decided"


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for all being looked at together (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def gates(report: Report) -> list[Gate]:
    """The three figures that the miniature has to reach."""
    wer = report.mean("wer", CLEAN, FULL)
    mt, st = report.mean("spbleu", MT, FULL), report.mean("spbleu", ST, FULL)
    half = None if mt is None else mt / 2
    return [
        Gate(
            "asr",
            "WER of spire-full at most 10 % on sentences and voices that training never had "
            "(librispeech/test-clean)",
            wer,
            0.10,
            None if wer is None else wer <= 0.10,
        ),
        Gate(
            "mt",
            "Translation by spire-full at least 60 spBLEU (mean of the FLORES directions)",
            mt,
            60.0,
            None if mt is None else mt >= 60.0,
        ),
        Gate(
            "st",
            "Direct speech translation (mean of the FLEURS directions) at least half of that",
            st,
            half,
            None if st is None or half is None else st >= half,
        ),
    ]


def _measured(report: Report, check: Check, test: str) -> tuple[Score, Score, Comparison] | None:
    score = report.score(check.metric, test, check.system)
    other = report.score(check.metric, test, check.other)
    by = report.compare(check.metric, test, check.system, check.other)
    return None if score is None or other is None or by is None else (score, other, by)


def _verdict(rule: Rule, score: Score, other: Score, by: Comparison, p_holm: float) -> Verdict:
    significant = p_holm < LEVEL
    if rule == "better":
        if not significant:
            return "not decided"
        return "held" if by.worse < 0 else "not held"
    if rule == "collapses":
        half = other.value / 2
        return "held" if score.high <= half else "not held" if score.low > half else "not decided"
    if significant and by.worse >= SMALL:
        return "not held"
    small = by.low <= 0.0 or by.worse < SMALL
    return "held" if small and by.high < LARGE else "not decided"
