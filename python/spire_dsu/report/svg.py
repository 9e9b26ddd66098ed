"""Charts as inline SVG, in the colours of the page: they follow its light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from spire_dsu.types import Int64

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 22, 40
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
FLOOR = HEIGHT - BOTTOM
_POINTS = 300
_DASHES = ("none", "6 4", "2 3")


def bars(values: Sequence[int], labels: Sequence[str], x_title: str, y_title: str) -> str:
    """A histogram.

    Args:
        values: the height of each bar.
        labels: what each bar is, shown when the pointer is on it; a few stand below the axis.
        x_title: what the bars are.
        y_title: what their height is.
    """
    top = nice_top(max(values, default=0))
    step = INNER_WIDTH / max(1, len(values))
    every = -(-len(values) // 13)
    parts = [_level(part / 4, short(top * part / 4)) for part in range(5)]
    for place, (value, label) in enumerate(zip(values, labels, strict=True)):
        height = INNER_HEIGHT * value / top
        x = LEFT + place * step
        hit = _box(x, TOP, step, INNER_HEIGHT, "hit").replace("/>", ' fill="none"/>')
        mark = _box(x + 0.1 * step, FLOOR - height, 0.8 * step, height, "mark")
        parts.append(f'<g class="bar">{hit}{mark}<title>{escape(label)}: {value:,}</title></g>')
        if place % every == 0:
            parts.append(_text(x + step / 2, FLOOR + 16, label, "x"))
    return _chart(parts, x_title, y_title)


def log_log(counts: Int64, x_title: str, y_title: str) -> str:
    """Counts by rank, both axes logarithmic.

    Args:
        counts: int64, positive, most frequent first.
        x_title: what is ranked.
        y_title: what is counted.
    """
    if counts.size == 0:
        return _chart([], x_title, y_title)
    low = math.floor(math.log10(counts[-1]))
    high = max(low + 1, math.ceil(math.log10(counts[0])))
    x_end = max(1.0, math.log10(counts.size))
    parts = [
        _level((decade - low) / (high - low), short(10.0**decade))
        for decade in range(low, high + 1)
    ]
    for decade in range(int(x_end) + 1):
        x = LEFT + INNER_WIDTH * decade / x_end
        parts.append(_line(x, TOP, x, FLOOR, "grid"))
        parts.append(_text(x, FLOOR + 16, short(10.0**decade), "x"))
    points = []
    for rank in _ranks(counts.size):
        x = LEFT + INNER_WIDTH * math.log10(rank) / x_end
        y = FLOOR - INNER_HEIGHT * (math.log10(counts[rank - 1]) - low) / (high - low)
        points.append(f"{x:.1f},{y:.1f}")
    parts.append(f'<polyline points="{" ".join(points)}" class="line"/>')
    return _chart(parts, x_title, y_title)


def log_lines(series: Mapping[str, Sequence[tuple[int, float]]], x_title: str, y_title: str) -> str:
    """Lines over one x, their values on a logarithmic axis; the legend has the last ones.

    Args:
        series: name -> (x, value) in order; none empty, x and values positive.
        x_title: what x is.
        y_title: what the values are.
    """
    values = [value for line in series.values() for _, value in line]
    end = nice_top(max(x for line in series.values() for x, _ in line))
    low, high = math.log10(min(values)), math.log10(max(values))
    high = max(high, low + 0.1)

    def share(value: float) -> float:
        return (math.log10(value) - low) / (high - low)

    decades = range(math.floor(low), math.ceil(high) + 1)
    levels = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    parts = [_level(share(v), f"{v:g}") for v in levels if 0 <= share(v) <= 1]
    for part in range(5):
        parts.append(_text(LEFT + INNER_WIDTH * part / 4, FLOOR + 16, short(end * part / 4), "x"))
    right = WIDTH - RIGHT
    for number, (name, line) in enumerate(series.items()):
        at = [(LEFT + INNER_WIDTH * x / end, FLOOR - INNER_HEIGHT * share(v)) for x, v in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        y = TOP + 8 + 16 * number
        dashes = f'class="line" stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
        for points in (path, f"{right - 28},{y} {right},{y}"):  # and a piece for the legend
            parts.append(f'<polyline points="{points}" {dashes}/>')
        parts.append(_text(right - 34, y + 4, f"{name}: {line[-1][1]:.2g}", "y"))
    return _chart(parts, x_title, y_title)


def _ranks(count: int) -> list[int]:
    """Ranks that lie evenly on a logarithmic axis: all the small ones, some of the large."""
    return sorted({round(count ** (k / _POINTS)) for k in range(_POINTS + 1)})


def _chart(parts: list[str], x_title: str, y_title: str) -> str:
    label = f"{escape(y_title)} by {escape(x_title)}"
    axis = _line(LEFT, FLOOR, WIDTH - RIGHT, FLOOR, "axis")
    titles = _text(LEFT + INNER_WIDTH / 2, HEIGHT - 6, x_title, "x title")
    titles += _text(LEFT, TOP - 9, y_title, "title")
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{body}{axis}{titles}</svg>"
    )


def _level(height: float, label: str) -> str:
    """A horizontal line of the grid at a share of the height, with its value."""
    y = FLOOR - INNER_HEIGHT * height
    return _line(LEFT, y, WIDTH - RIGHT, y, "grid") + _text(LEFT - 6, y + 3.5, label, "y")


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _box(x: float, y: float, width: float, height: float, style: str) -> str:
    size = f'width="{width:.2f}" height="{height:.2f}"'
    return f'<rect x="{x:.2f}" y="{y:.2f}" {size} class="{style}"/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(text)}</text>'


def nice_top(value: int) -> int:
    """A round number that is at least `value` and divides by four: where an axis ends."""
    if value <= 4:
        return 4
    unit = 10 ** (len(str(value)) - 1)
    for factor in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8, 10):
        top = int(unit * factor)
        if top >= value and top % 4 == 0:
            return top
    return 4 * -(-value // 4)


def short(value: float) -> str:
    """A number in four characters or so."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"
