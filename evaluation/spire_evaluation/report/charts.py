"""Charts as inline SVG, without a script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

COLOURS = ("#3b76a8", "#c2662d", "#5b8c4a", "#8a5aa3", "#b8923a", "#5aa3a0", "#a84f6b", "#777f88")
_LEFT, _TOP, _HEIGHT, _BOTTOM = 44, 12, 200, 44
_BAR, _GAP = 16, 18


@dataclass(frozen=True, slots=True)
class Series:
    """One system over the columns.

    Attributes:
        name: in the legend.
        values: height of each bar; None leaves it out.
        intervals: (low, high) of each bar, or None.
        printed: what the paper prints for it; a line across the bar.
    """

    name: str
    values: Sequence[float | None]
    intervals: Sequence[tuple[float, float] | None]
    printed: Sequence[float | None]


def bars(columns: Sequence[str], series: Sequence[Series]) -> str:
    """Bars in groups, one group for each column, one bar for each series."""
    numbers = [v for each in series for v in (*each.values, *each.printed) if v is not None]
    numbers += [edge for each in series for pair in each.intervals if pair for edge in pair]
    top = _nice(max(numbers, default=1.0))
    step = len(series) * _BAR + _GAP
    width = _LEFT + max(320, step * len(columns)) + 12
    parts = [_level(top * k / 4, top, width) for k in range(5)]
    for group, column in enumerate(columns):
        x = _LEFT + _GAP / 2 + group * step
        for place, each in enumerate(series):
            parts.append(_bar(each, group, place, x + place * _BAR, top, column))
        parts.append(f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 14}">{escape(column)}</text>')
    parts += _legend(series)
    height = _TOP + _HEIGHT + _BOTTOM + 16 * len(series)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"{''.join(parts)}</svg>"
    )


def lines(title: str, curves: Sequence[Mapping[str, Any]]) -> str:
    """Word error rate over the points of each curve, evenly spaced in their order."""
    names = [point["at"] for point in curves[0]["points"]]
    values = [p["wer"] for curve in curves for p in curve["points"] if p["wer"] is not None]
    top = _nice(max(values, default=1.0))
    step = 90
    width = _LEFT + step * len(names) + 12
    parts = [_level(top * k / 4, top, width) for k in range(5)]
    for place, name in enumerate(names):
        x, label = _LEFT + step * (place + 0.5), "as it is" if place == 0 else f"{name:g}"
        parts.append(
            f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 14}" text-anchor="middle">{label}</text>'
        )
    for number, curve in enumerate(curves):
        points = [
            (_LEFT + step * (place + 0.5), _y(point["wer"], top))
            for place, point in enumerate(curve["points"])
            if point["wer"] is not None
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
    parts += _names([curve["system"] for curve in curves])
    height = _TOP + _HEIGHT + _BOTTOM + 16 * len(curves)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _bar(series: Series, group: int, place: int, x: float, top: float, column: str) -> str:
    value, interval = series.values[group], series.intervals[group]
    printed = series.printed[group]
    middle = x + _BAR / 2 - 1
    parts = []
    if value is not None:
        y = _y(value, top)
        label = f"{escape(series.name)}, {escape(column)}: {value:.2f}"
        parts.append(
            f'<rect class="c{place % len(COLOURS)}" x="{x:.1f}" y="{y:.1f}" width="{_BAR - 2}" '
            f'height="{_TOP + _HEIGHT - y:.1f}"><title>{label}</title></rect>'
        )
    if interval is not None:
        low, high = (_y(edge, top) for edge in interval)
        parts.append(_line(middle, low, middle, high, "whisker"))
    if printed is not None:
        y = _y(printed, top)
        parts.append(_line(x - 2, y, x + _BAR, y, "paper"))
    return "".join(parts)


def _legend(series: Sequence[Series]) -> list[str]:
    parts = _names([each.name for each in series])
    y = _TOP + _HEIGHT + 30 + 16 * len(series)
    parts.append(_line(_LEFT, y - 1, _LEFT + 10, y - 1, "paper"))
    parts.append(f'<text x="{_LEFT + 16}" y="{y + 3}">printed in the paper</text>')
    return parts


def _names(names: Sequence[str]) -> list[str]:
    parts = []
    for place, name in enumerate(names):
        y = _TOP + _HEIGHT + 30 + 16 * place
        colour = f"c{place % len(COLOURS)}"
        parts.append(f'<rect class="{colour}" x="{_LEFT}" y="{y}" width="10" height="10"/>')
        parts.append(f'<text x="{_LEFT + 16}" y="{y + 9}">{escape(name)}</text>')
    return parts


def _level(value: float, top: float, width: int) -> str:
    y = _y(value, top)
    line = _line(_LEFT, y, width - 12, y, "axis")
    return f'{line}<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _y(value: float, top: float) -> float:
    return _TOP + _HEIGHT * (1 - min(max(value, 0.0), top) / top)


def _nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 4, 5, 8, 10) if value <= power * step * (1 + 1e-9))
