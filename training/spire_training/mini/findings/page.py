"""The findings for people: Markdown, and one HTML file without a script that opens offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from spire_dsu.report.html import STYLE
from spire_dsu.report.svg import log_lines
from spire_training.mini.findings.chart import Point, intervals
from spire_training.mini.findings.claims import Printed
from spire_training.mini.findings.learning import Curve
from spire_training.mini.findings.measured import (
    CLOCK,
    LOWER_IS_BETTER,
    Report,
    Score,
    whole_time,
)
from spire_training.mini.findings.verdicts import ALL, MOSTLY, RULES, SPEAKERS, Finding, Gate

_NAMES = {"wer": "WER, %", "spbleu": "spBLEU", "chrf": "chrF", "ner": "F1 of entities"}
_MET = {True: "yes", False: "no", None: "not measured"}


@dataclass(frozen=True, slots=True)
class Section:
    """A title, remarks, a table, and a chart for the page.

    Attributes:
        numbers: how many of the last columns are flush right.
    """

    title: str
    notes: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    numbers: int = 0
    chart: str = ""


def sections(
    report: Report,
    findings: Sequence[Finding],
    gates: Sequence[Gate],
    learned: dict[str, Curve],
    seconds: dict[str, float],
) -> list[Section]:
    """Everything that is shown, in order."""
    made = [_overview(findings), _gates(gates)]
    made += [_finding(each) for each in findings]
    made.append(Section("How it is decided", [*RULES.values(), ALL, MOSTLY, SPEAKERS]))
    for metric in dict.fromkeys(metric for _, metric, _, _ in report.all_scores()):
        made.append(_scores(report, metric))
    if learned:
        made.append(_learning(learned))
    if seconds:
        made.append(_time(seconds))
    return made


def as_markdown(parts: Sequence[Section]) -> str:
    """Titles, remarks and pipe tables."""
    blocks = []
    for place, part in enumerate(parts):
        blocks += [f"{'#' if place == 0 else '##'} {part.title}", *part.notes]
        if part.rows:
            rule = ["---"] * (len(part.header) - part.numbers) + ["---:"] * part.numbers
            lines = [part.header, rule, *part.rows]
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(blocks) + "\n"


def as_page(parts: Sequence[Section]) -> str:
    """The whole page, light or dark as the reader's."""
    title = escape(parts[0].title)
    body = "\n".join(_html(part, place == 0) for place, part in enumerate(parts))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n"
        "</html>\n"
    )


def _overview(findings: Sequence[Finding]) -> Section:
    rows = [
        [each.claim.id, each.claim.says, "; ".join(_in_short(each)), each.verdict]
        for each in findings
    ]
    notes = [
        "The paper's findings, looked for in models that two cores have trained. In short: WER of "
        "the first test set, spBLEU as the mean over all of a comparison's."
    ]
    header = ["", "finding", "in short", "here"]
    return Section("The paper in miniature: what was found", notes, header, rows)


def _in_short(finding: Finding) -> Iterator[str]:
    """For each check that was measured whole, one number of both systems."""
    for check in finding.claim.checks:
        judged = [each for each in finding.judged if each.check is check]
        if len(judged) < len(check.tests):
            continue
        counted = judged[:1] if check.metric in LOWER_IS_BETTER else judged
        ours, other = (
            sum(scores) / len(counted) * _factor(check.metric)
            for scores in zip(*((e.score.value, e.other.value) for e in counted), strict=True)
        )
        name = _NAMES.get(check.metric, check.metric)
        yield f"{name}: {check.system} {ours:.1f}, {check.other} {other:.1f}"


def _gates(gates: Sequence[Gate]) -> Section:
    rows = [[gate.says, _plain(gate, gate.reached), _MET[gate.met]] for gate in gates]
    return Section("Gates", [], ["gate", "reached", "met"], rows, 2)


def _plain(gate: Gate, value: float | None) -> str:
    if value is None:
        return "-"
    factor, unit = (100.0, " %") if gate.name == "asr" else (1.0, "")
    asked = "" if gate.required is None else f" ({factor * gate.required:.1f}{unit} asked)"
    return f"{factor * value:.1f}{unit}{asked}"


def _finding(finding: Finding) -> Section:
    notes = [f"Here: {finding.verdict}."]
    notes += [f"Not measured: {what}." for what in finding.missing]
    notes.append(f"In the paper: {'; '.join(map(_printed, finding.claim.paper))}.")
    rows, points = [], []
    for each in finding.judged:
        check, metric = each.check, each.check.metric
        rows.append(
            [
                each.test,
                _NAMES.get(metric, metric),
                f"{check.system} {_shown(metric, each.score)}",
                f"{check.other} {_shown(metric, each.other)}",
                check.rule,
                f"{each.by.worse:+.2f} [{each.by.low:+.2f}, {each.by.high:+.2f}]",
                f"{each.by.p_value:.4f}",
                f"{each.p_holm:.4f}",
                each.verdict,
            ]
        )
        label = f"{each.test}, {metric}"
        group = f"{check.system} against {check.other}"
        points.append(Point(group, label, each.by.worse, each.by.low, each.by.high))
    header = ["test set", "metric", "system", "against", "rule", "points worse"]
    header += ["p", "p corrected", "verdict"]
    chart = intervals(points, "points worse; left of zero is better") if points else ""
    title = f"{finding.claim.id}. {finding.claim.says}"
    return Section(title, notes, header, rows, 4, chart)


def _printed(cell: Printed) -> str:
    values = ", ".join(f"{row} {value:g}" for row, value in cell.values.items())
    return f"table {cell.table}, {cell.column}: {values}"


def _scores(report: Report, metric: str) -> Section:
    tests = list(dict.fromkeys(t for t, m, _, _ in report.all_scores() if m == metric))
    found = {(t, name): score for t, m, name, score in report.all_scores() if m == metric}
    systems = [name for name in report.systems if any((test, name) in found for test in tests)]
    rows = [
        [name, *(_shown(metric, found.get((test, name))) for test in tests)] for name in systems
    ]
    factor = _factor(metric)
    points = [
        Point(test, name, *(factor * x for x in (score.value, score.low, score.high)))
        for test in tests
        for name in systems
        if (score := found.get((test, name))) is not None
    ]
    name = _NAMES.get(metric, metric)
    notes = [f"{name}, with 95 % bootstrap intervals."]
    return Section(
        name, notes, ["system", *tests], rows, len(tests), intervals(points, notes[0].rstrip("."))
    )


def _learning(learned: dict[str, Curve]) -> Section:
    rows = []
    for name, points in learned.items():
        losses = [loss for _, loss in points]
        rows.append([name, *(f"{loss:.3g}" for loss in (losses[0], min(losses), losses[-1]))])
    header = ["loss of a token", "first", "lowest", "last"]
    chart = log_lines(learned, "updates of SpireBase", "loss of a token")
    return Section("How SpireBase learned", [], header, rows, 3, chart)


def _time(seconds: dict[str, float]) -> Section:
    stages = {stage: value for stage, value in seconds.items() if stage != CLOCK}
    name = "from begin to end, two stages at a time" if CLOCK in seconds else "together"
    rows = [
        [stage, f"{value / 60:.1f}"]
        for stage, value in (*stages.items(), (name, whole_time(seconds)))
    ]
    return Section("Time", [], ["stage", "minutes"], rows, 1)


def _shown(metric: str, score: Score | None) -> str:
    if score is None:
        return "-"
    value, low, high = (_factor(metric) * x for x in (score.value, score.low, score.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _factor(metric: str) -> float:
    return 100.0 if metric in LOWER_IS_BETTER else 1.0


def _html(part: Section, first: bool) -> str:
    level = "h1" if first else "h2"
    notes = "".join(f"<p>{escape(note)}</p>" for note in part.notes)
    table = _table(part) if part.rows else ""
    return f"<section><{level}>{escape(part.title)}</{level}>{notes}{part.chart}{table}</section>"


def _table(part: Section) -> str:
    names = len(part.header) - part.numbers

    def line(cells: Sequence[str], tag: str) -> str:
        marks = ["" if place < names else ' class="n"' for place in range(len(cells))]
        pairs = zip(marks, cells, strict=True)
        inner = "".join(f"<{tag}{mark}>{escape(cell)}</{tag}>" for mark, cell in pairs)
        return f"<tr>{inner}</tr>"

    rows = "\n".join(line(row, "td") for row in part.rows)
    return f"<table>\n{line(part.header, 'th')}\n{rows}\n</table>"
