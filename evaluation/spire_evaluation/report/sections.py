"""The document as titled tables of text: what both renderings show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spire_evaluation.report.charts import Series, bars, lines
from spire_evaluation.report.tables import percent

Json = dict[str, Any]
_NONE = "-"
_HARDEST = 15
"""Speakers of a test set that are shown; report.json has the others."""


@dataclass(frozen=True, slots=True)
class Section:
    """A title, remarks, a table, and charts for the page.

    Attributes:
        header, rows: text; the first columns are names, the last `numbers` of them numbers.
    """

    title: str
    notes: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    numbers: int = 0
    charts: list[str] = field(default_factory=list)


def sections(document: Json) -> list[Section]:
    """The report, in order."""
    found = [_head(document)]
    found += [_paper_table(table) for table in document["tables"]]
    if document["data_seen"]:
        found.append(_data_seen(document["data_seen"]))
    found.append(_scores(document["scores"]))
    optional = (
        _pairs(document["scores"]),
        _speakers(document["scores"]),
        _cascades(document["cascades"]),
        _curves(document["curves"]),
        _lengths(document["lengths"]),
        _units(document["units"]),
        _merging(document["units"]),
    )
    found += [section for section in optional if section.rows]
    found.append(_signatures(document["scores"]))
    return found


def _head(document: Json) -> Section:
    tests = document["tests"]
    rows = [
        [key, test["task"], test["src"], test["tgt"], str(test["items"])]
        for key, test in tests.items()
    ]
    notes = [
        f"Systems: {', '.join(document['systems'])}.",
        "Where the paper prints a number, it stands in brackets after ours.",
    ]
    return Section("Evaluation", notes, ["test set", "task", "from", "to", "items"], rows, 1)


def _paper_table(table: Json) -> Section:
    suspect = {(s["row"], s["column"]): s["why"] for s in table["suspect"]}
    rows, marked = [], []
    for row in table["rows"]:
        cells = []
        columns = zip(table["columns"], table["digits"], row["ours"], row["published"], strict=True)
        for name, digits, ours, printed in columns:
            why = suspect.get((row["name"], name))
            if why and printed is not None:
                marked.append(f"? {row['name']}, {name}, {printed:.{digits}f}: {why}.")
            paper = "" if printed is None else f"({printed:.{digits}f}{'?' if why else ''})"
            cells.append(_beside(ours, paper))
        label = _label(row)
        if row["system"] not in (None, row["name"]):
            label += f", here {row['system']}"
        rows.append([label, *cells])
    title = f"Table {table['number']}: {table['title']}"
    header, notes = ["model", *table["columns"]], [*table["notes"], *marked]
    return Section(title, notes, header, rows, len(header) - 1, _charts(table))


def _label(row: Json) -> str:
    ways = ("Self-cascade", "Direct")
    return f"{row['name']} ({row['group']})" if row["group"] in ways else str(row["name"])


def _beside(ours: Json | None, paper: str) -> str:
    if ours is None:
        return paper or _NONE
    value = f"{ours['value']:.2f}"
    if "low" in ours:
        value += f" [{ours['low']:.2f}, {ours['high']:.2f}]"
    return f"{value} {paper}".rstrip()


def _charts(table: Json) -> list[str]:
    """A chart of the rows that were measured, beside what is printed of them."""
    shown = [row for row in table["rows"] if any(row["ours"])]
    series = [
        Series(
            _label(row),
            [cell["value"] if cell else None for cell in row["ours"]],
            [
                (cell["low"], cell["high"]) if cell and "low" in cell else None
                for cell in row["ours"]
            ],
            row["published"],
        )
        for row in shown
    ]
    return [bars(table["columns"], series)]


def _data_seen(table: Json) -> Section:
    rows = [
        [{True: "yes", False: "no"}.get(cell, str(cell)) for cell in row] for row in table["rows"]
    ]
    title = f"Table {table['number']}: {table['title']}"
    return Section(title, ["As printed."], ["model", *table["columns"]], rows)


def _scores(scores: Json) -> Section:
    rows = []
    for key, test in scores.items():
        for metric, systems in test["systems"].items():
            for name, score in systems.items():
                spoken = score.get("interval_by_speaker")
                rows.append(
                    [
                        key,
                        metric,
                        name,
                        f"{percent(score['score'], score['unit']):.2f}",
                        _range(score["interval"], score["unit"]),
                        _range(spoken, score["unit"]) if spoken else _NONE,
                        str(score["empty_hypotheses"]),
                    ]
                )
    header = ["test set", "metric", "system", "score", "interval", "by speaker", "empty answers"]
    notes = [
        "Intervals are bootstrap percentiles; by speaker: recordings of a speaker stay together."
    ]
    return Section("All scores", notes, header, rows, 4)


def _range(interval: Json, unit: str) -> str:
    low, high = percent(interval["low"], unit), percent(interval["high"], unit)
    return f"[{low:.2f}, {high:.2f}]"


def _pairs(scores: Json) -> Section:
    rows = []
    for key, test in scores.items():
        for pair in test["pairs"]:
            unit = test["systems"][pair["metric"]][pair["first"]]["unit"]
            block = pair.get("by_speaker")
            rows.append(
                [
                    key,
                    pair["metric"],
                    pair["first"],
                    pair["second"],
                    f"{percent(pair['difference'], unit):+.2f}",
                    _range(pair["interval"], unit),
                    f"{pair['probability_of_improvement']:.3f}",
                    f"{pair['p_value']:.4f}",
                    f"{pair['p_holm']:.4f}",
                    f"{block['p_holm']:.4f}" if block else _NONE,
                ]
            )
    header = ["test set", "metric", "first", "second", "second - first", "interval"]
    header += ["P(second better)", "p", "p corrected", "by speaker"]
    notes = ["p is corrected by Holm's method over all rows of this table."]
    return Section("Comparisons", notes, header, rows, 6)


def _speakers(scores: Json) -> Section:
    """Error rates of single speakers: a mean over many hides the few who are not understood."""
    found: list[tuple[str, str, dict[str, Json]]] = []
    for key, test in scores.items():
        for metric in ("wer", "cer"):
            systems = test["systems"].get(metric, {})
            told = {name: each for name, each in systems.items() if "speakers" in each}
            if told:
                found.append((key, metric, told))
    names = list(dict.fromkeys(name for _, _, told in found for name in told))
    rows = []
    for key, metric, told in found:
        values = [each["speakers"] for each in told.values()]
        mean = {who: sum(each[who] for each in values) / len(values) for who in values[0]}
        for who in sorted(mean, key=lambda who: -mean[who])[:_HARDEST]:
            cells = [
                f"{percent(told[name]['speakers'][who], told[name]['unit']):.1f}"
                if name in told
                else _NONE
                for name in names
            ]
            rows.append([key, metric, who, *cells])
    notes = [
        f"Up to {_HARDEST} speakers of each test set, by the mean over all systems; in percent."
    ]
    header = ["test set", "metric", "speaker", *names]
    return Section("The hardest speakers", notes, header, rows, len(names))


def _cascades(cascades: list[Json]) -> Section:
    rows = [
        [
            each["system"],
            each["test"],
            each["metric"],
            f"{each['cascade']:.2f}",
            f"{each['gold_transcript']:.2f}",
            f"{each['lost_by_asr']:+.2f}",
            _number(each["transcript_wer"]),
        ]
        for each in cascades
    ]
    header = ["system", "test set", "metric", "cascade", "of gold transcripts", "lost by ASR"]
    notes = ["What translating the gold transcript would gain is what the recognition loses."]
    return Section("Cascades", notes, [*header, "WER of transcripts"], rows, 4)


def _curves(curves: list[Json]) -> Section:
    rows = []
    for each in curves:
        for point in each["points"]:
            at = "none" if point["at"] is None else f"{point['at']:g}"
            rows.append([each["test"], each["system"], each["change"], at, _number(point["wer"])])
    header = ["test set", "system", "change", "at", "WER"]
    notes = ["noise: white, dB from the speech down to it; speed: a factor, the pitch changes too."]
    charts = [
        lines(
            f"{test}, {change}", [e for e in curves if (e["test"], e["change"]) == (test, change)]
        )
        for test, change in dict.fromkeys((e["test"], e["change"]) for e in curves)
    ]
    return Section("Robustness", notes, header, rows, 2, charts)


def _lengths(lengths: list[Json]) -> Section:
    names = ("answers", "empty", "cut", "stopped", "long_prompts", "too_long", "no_speech")
    rows = [
        [
            each["system"],
            each["test"],
            *(_NONE if each[name] is None else str(each[name]) for name in names),
            _number(each["mean_tokens"]),
        ]
        for each in lengths
    ]
    header = ["system", "test set", "answers", "empty", "cut at the limit", "at a stop text"]
    header += ["prompts over 4096", "prompts too long", "no speech", "mean tokens"]
    return Section("Lengths", [], header, rows, 8)


def _units(units: list[Json]) -> Section:
    rows = [
        [
            each["test"],
            str(each["recordings"]),
            ", ".join(f"{n} {why}" for why, n in each["without_units"].items()) or "0",
            f"{each['seconds'] / 3600:.3f}",
            _number(each["units_per_second"]),
            _number(each["frames_per_unit"]),
            f"{each['units_used']} of {each['units_known']}",
        ]
        for each in units
    ]
    header = ["test set", "recordings", "without units", "hours", "units per second"]
    return Section("Units", [], [*header, "frames per unit", "units used"], rows, 6)


def _merging(units: list[Json]) -> Section:
    rows = [
        [each["test"], system, *map(_number, quarters)]
        for each in units
        for system, quarters in each["wer_by_merging"].items()
    ]
    header = ["test set", "system", "fewest", "second", "third", "most frames per unit"]
    notes = ["WER of the four quarters of the recordings, by how many frames a unit stands for."]
    return Section("Word errors and merged runs", notes, header, rows, 4)


def _signatures(scores: Json) -> Section:
    rows = sorted(
        {
            (metric, score["signature"])
            for test in scores.values()
            for metric, systems in test["systems"].items()
            for score in systems.values()
        }
    )
    notes = ["Versions, digests and settings are in report.json, under provenance."]
    return Section("Signatures", notes, ["metric", "signature"], [list(row) for row in rows])


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"
