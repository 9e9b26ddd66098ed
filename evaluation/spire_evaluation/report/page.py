"""The report as one HTML file: no script, nothing from elsewhere, light or dark as the reader's."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from spire_evaluation.report.charts import COLOURS
from spire_evaluation.report.sections import Section

_STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1d2329; --soft: #5c6670;
  --edge: #e2e5e8; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --ink: #e8ebee;
  --soft: #9aa5b0; --edge: #2e343a; } }
body { margin: 0 auto; max-width: 1200px; padding: 28px 20px 60px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; } h2 { font-size: 17px; margin: 0 0 10px; } p { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--edge); border-radius: 8px;
  padding: 14px 16px; margin-bottom: 16px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: 13px; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--edge); white-space: nowrap; }
td.n, th.n { text-align: right; }
svg { max-width: 100%; height: auto; display: block; margin: 12px 0; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--edge); } svg .whisker { stroke: var(--ink); }
svg .paper { stroke: var(--ink); stroke-width: 2.5; }
"""


def as_page(parts: Sequence[Section]) -> str:
    """The whole page."""
    colours = "".join(f"svg .c{k} {{ fill: {colour}; }}\n" for k, colour in enumerate(COLOURS))
    title = escape(parts[0].title)
    body = "\n".join(_section(part, place == 0) for place, part in enumerate(parts))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{_STYLE}{colours}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _section(part: Section, first: bool) -> str:
    level = "h1" if first else "h2"
    notes = "".join(f"<p>{escape(note)}</p>" for note in part.notes)
    charts = "\n".join(part.charts)
    title = f"<{level}>{escape(part.title)}</{level}>"
    return f"<section>{title}{notes}{charts}{_table(part) if part.rows else ''}</section>"


def _table(part: Section) -> str:
    names = len(part.header) - part.numbers

    def line(cells: Sequence[str], tag: str) -> str:
        marks = [' class="n"' if place >= names else "" for place in range(len(cells))]
        inner = "".join(
            f"<{tag}{mark}>{escape(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True)
        )
        return f"<tr>{inner}</tr>"

    rows = "\n".join(line(row, "td") for row in part.rows)
    return f"<table>\n{line(part.header, 'th')}\n{rows}\n</table>"
