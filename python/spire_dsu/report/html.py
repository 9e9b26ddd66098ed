"""The summary as one HTML file: no script, nothing from elsewhere, light or dark as the
reader's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from spire_dsu.report.summary import LONGEST_RUN, LONGEST_UTTERANCE, OK, Summary
from spire_dsu.report.svg import bars, log_log
from spire_dsu.report.terminal import facts
from spire_dsu.storage import write_file
from spire_dsu.types import FRAME_SECONDS, SAMPLING_RATE

_RUNS = 25
_UNUSED = 300

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #ffffff; --ink: #1d2329; --soft: #5c6670;
  --edge: #e2e5e8; --grid: #eceef0; --mark: #2f6f9f; --strong: #b3541e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --ink: #e8ebee;
  --soft: #9aa5b0; --edge: #2e343a; --grid: #272c31; --mark: #6fb1df; --strong: #eb9a63; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 20px 60px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 10px; }
p { margin: 0 0 12px; color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 20px 0; }
.tiles div, section { background: var(--card); border: 1px solid var(--edge); border-radius: 8px;
  padding: 12px 14px; }
.tiles b { display: block; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr));
  gap: 14px; align-items: start; }
section { margin-bottom: 14px; overflow-x: auto; min-width: 0; }
.pair section { margin-bottom: 0; }
.pair { margin-bottom: 14px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: 13px; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--edge); vertical-align: top; }
td { overflow-wrap: anywhere; }
td.n, th.n { text-align: right; white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .x { text-anchor: middle; } svg .y { text-anchor: end; }
svg .title { fill: var(--ink); } svg .axis { stroke: var(--soft); }
svg .grid { stroke: var(--grid); } svg .mark { fill: var(--mark); }
svg .hit { pointer-events: all; }
svg .bar:hover .mark { fill: var(--strong); }
svg .line { fill: none; stroke: var(--mark); stroke-width: 2; stroke-linejoin: round; }
.share { display: inline-block; height: 9px; border-radius: 2px; background: var(--mark);
  vertical-align: middle; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
summary { cursor: pointer; color: var(--soft); }
"""


def write_html(summary: Summary, path: str | os.PathLike[str]) -> Path:
    """Writes the report as one file that opens offline.

    Args:
        summary: of `summarize`.
        path: the file to write; its folder must exist.

    Returns:
        The path.
    """
    name = escape(summary.folder.resolve().name)
    tiles = "".join(f"<div><b>{value}</b><span>{key}</span></div>" for key, value in facts(summary))
    body = [
        f"<h1>{name}</h1>",
        "<p>Discrete speech units: what this conversion holds.</p>",
        f'<div class="tiles">{tiles}</div>',
        '<div class="pair">',
        _section(
            "Units by rank", "How often each unit occurs, runs counted once.", _ranks(summary)
        ),
        _section("Run lengths", "How long one unit lasts before the next.", _runs(summary)),
        _section("Utterance lengths", "Utterances that have units.", _utterances(summary)),
        _section("Rows by status", "Every row of the input is here.", _statuses(summary)),
        _section("Most frequent units", "", _top(summary)),
        _section("Languages", "", _languages(summary)),
        "</div>",
        _section("Units that never occur", "", _unused(summary)),
        _section("What made it", "", _fingerprint(summary)),
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: discrete speech units</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    write_file(Path(path), page.encode(errors="backslashreplace"))
    return Path(path)


def _section(title: str, about: str, content: str) -> str:
    text = f"<p>{about}</p>" if about else ""
    return f"<section><h2>{title}</h2>{text}{content}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int]) -> str:
    """A table of cells that are HTML already; the columns in `numbers` are flush right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        marked = (' class="n"' if place in numbers else "" for place in range(len(row)))
        pairs = zip(marked, row, strict=True)
        return "<tr>" + "".join(f"<{tag}{mark}>{cell}</{tag}>" for mark, cell in pairs) + "</tr>"

    return f"<table>{cells('th', head)}{''.join(cells('td', row) for row in rows)}</table>"


def _ranks(summary: Summary) -> str:
    return log_log(summary.by_rank(), "rank of the unit", "times")


def _runs(summary: Summary) -> str:
    runs = summary.run_lengths.tolist()
    assert len(runs) == LONGEST_RUN
    values = [*runs[: _RUNS - 1], sum(runs[_RUNS - 1 :])]
    labels = [f"{20 * k}" for k in range(1, _RUNS)] + [f"{20 * _RUNS}+"]
    return bars(values, labels, "milliseconds", "runs")


def _utterances(summary: Summary) -> str:
    labels = [str(k) for k in range(LONGEST_UTTERANCE)] + [f"{LONGEST_UTTERANCE}+"]
    return bars(summary.seconds.tolist(), labels, "seconds", "utterances")


def _share(part: float) -> str:
    return f'<span class="share" style="width:{max(1.0, 120 * part):.1f}px"></span>'


def _statuses(summary: Summary) -> str:
    rows = []
    for status, count in sorted(summary.counts.items(), key=lambda item: (-item[1], item[0])):
        part = count / summary.rows
        names = "<br>".join(
            f"<code>{escape(repr(n))}</code>" for n in summary.examples.get(status, [])
        )
        about = names if status != OK else _share(part)
        rows.append([escape(status), f"{count:,}", f"{part:.2%}", about])
    return _table(["status", "rows", "share", "for example"], rows, [1, 2])


def _top(summary: Summary) -> str:
    rows = []
    for unit in summary.top(12):
        times = int(summary.unit_counts[unit])
        run = int(summary.frame_counts[unit]) / times * FRAME_SECONDS * 1000
        part = times / summary.num_units
        bar = _share(times / int(summary.unit_counts.max()))
        rows.append([str(unit), f"{times:,}", f"{part:.2%}", f"{run:.0f} ms", bar])
    return _table(["unit", "times", "share", "mean run", ""], rows, [0, 1, 2, 3])


def _languages(summary: Summary) -> str:
    rows = []
    ordered = sorted(summary.languages.items(), key=lambda item: (-item[1].samples, item[0]))
    for name, language in ordered[:20]:
        seconds = language.samples / SAMPLING_RATE
        rate = f"{language.units / seconds:.2f}" if seconds else ""
        label = escape(name) or "<i>not named</i>"
        part = _share(language.samples / max(1, summary.samples))
        rows.append([label, f"{language.rows:,}", f"{seconds / 3600:,.2f}", rate, part])
    return _table(["language", "utterances", "hours", "units/s", ""], rows, [1, 2, 3])


def _unused(summary: Summary) -> str:
    unused = summary.unused
    if not unused:
        return "<p>None: every unit of the codebook is in use.</p>"
    shown = ", ".join(map(str, unused[:_UNUSED])) + (", ..." if len(unused) > _UNUSED else "")
    return f"<details><summary>{len(unused):,} units</summary><pre>{shown}</pre></details>"


def _fingerprint(summary: Summary) -> str:
    text = escape(json.dumps(summary.fingerprint, indent=1, sort_keys=True))
    return f"<details><summary>fingerprint</summary><pre>{text}</pre></details>"
