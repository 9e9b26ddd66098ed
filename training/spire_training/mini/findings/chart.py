"""Points with intervals as inline SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_Scale = Callable[[float], float]
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 760, 250, 70, 26, 19


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval, in the unit of the axis.

    Attributes:
        group: a title above the first row that has it.
    """

    group: str
    label: str
    value: float
    low: float
    high: float


def intervals(points: Sequence[Point], title: str) -> str:
    """One row for each point, from zero on; where a value is below zero, with a line at zero.

    Args:
        points: in order; those of a group stand together.
        title: what the axis is.
    """
    low, high, step = _axis([0.0, *(edge for each in points for edge in (each.low, each.high))])
    scale = (_WIDTH - _LEFT - _RIGHT) / (high - low)

    def x_of(value: float) -> float:
        return _LEFT + (value - low) * scale

    rows: list[str] = []
    y, group = float(_TOP), None
    for each in points:
        if each.group != group:
            group = each.group
            rows.append(f'<text x="4" y="{y + 14:.0f}" class="title">{escape(group)}</text>')
            y += _ROW
        rows.append(_row(each, y + _ROW / 2, x_of))
        y += _ROW
    ticks = [low + step * k for k in range(round((high - low) / step) + 1)]
    grid = [_tick(x_of(tick), y, tick) for tick in ticks]
    zero = f'<line x1="{x_of(0):.1f}" y1="{_TOP}" x2="{x_of(0):.1f}" y2="{y:.0f}" class="axis"/>'
    head = f'<text x="{_LEFT}" y="14">{escape(title)}</text>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {y + 22:.0f}" role="img" aria-label="{escape(title)}">'
        f"{head}{''.join(grid)}{zero}{''.join(rows)}</svg>"
    )


def _row(each: Point, y: float, x_of: _Scale) -> str:
    name = f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" class="y">{escape(each.label)}</text>'
    whisker = (
        f'<line x1="{x_of(each.low):.1f}" y1="{y:.1f}" x2="{x_of(each.high):.1f}" y2="{y:.1f}" '
        'class="line"/>'
    )
    dot = f'<circle cx="{x_of(each.value):.1f}" cy="{y:.1f}" r="4" class="mark"/>'
    number = (
        f'<text x="{_WIDTH - 6}" y="{y + 4:.1f}" class="y">{each.value:.1f}</text>'
        f"<title>{each.value:.2f} [{each.low:.2f}, {each.high:.2f}]</title>"
    )
    return f"<g>{name}{whisker}{dot}{number}</g>"


def _tick(x: float, bottom: float, value: float) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom:.0f}" class="grid"/>'
        f'<text x="{x:.1f}" y="{bottom + 15:.0f}" class="x">{value:g}</text>'
    )


def _axis(values: Sequence[float]) -> tuple[float, float, float]:
    """Ends and step of an axis that holds all values, by steps of 1, 2 or 5."""
    span = max(values) - min(values) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 6)
    low, high = math.floor(min(values) / step), math.ceil(max(values) / step)
    return low * step, max(high, low + 1) * step, step
