"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from spire_evaluation.report.sections import Section


def as_markdown(parts: Sequence[Section]) -> str:
    """Titles, remarks and pipe tables."""
    blocks = []
    for place, part in enumerate(parts):
        blocks.append(f"{'#' if place == 0 else '##'} {part.title}")
        blocks += [_safe(note) for note in part.notes]
        if part.rows:
            names = len(part.header) - part.numbers
            rule = ["---"] * names + ["---:"] * part.numbers
            lines = [part.header, rule, *part.rows]
            blocks.append("\n".join(f"| {' | '.join(map(_safe, line))} |" for line in lines))
    return "\n\n".join(blocks) + "\n"


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
