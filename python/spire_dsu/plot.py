"""Pictures: a waveform with its units, for people who want to see what the model hears."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.types import FRAME_SECONDS, SAMPLING_RATE, Float32, Units

ROW_SECONDS = 1.2
"""Audio per row of the picture, nearly: about 40 units, so that each id stays readable."""

# Neighbours should look different, and a unit must look the same wherever it comes back.
PALETTE = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#76b7b2",
    "#edc948",
    "#b07aa1",
    "#ff9da7",
    "#9c755f",
    "#bab0ac",
)


def draw_units(
    samples: Float32, units: Units, path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Draws a waveform, row by row, over its units and their borders.

    Args:
        samples: float32 [S], mono at 16 kHz.
        units: the units of these samples; frame t starts at t * 20 ms.
        path: where the picture goes; its suffix chooses the format (png, svg, pdf).
        title: one line above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frames = max(1, math.ceil(samples.size / SAMPLING_RATE / FRAME_SECONDS))
    rows = max(1, round(frames * FRAME_SECONDS / ROW_SECONDS))
    row_seconds = math.ceil(frames / rows) * FRAME_SECONDS  # of one length: none is nearly empty
    figure = Figure(figsize=(14, 1.2 + 1.75 * rows), layout="constrained")
    FigureCanvasAgg(figure)  # no display, no global state
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    peak = float(np.abs(samples).max(initial=0.0)) or 1.0
    time_S = np.arange(samples.size) / SAMPLING_RATE
    for row, axis in enumerate(axes):
        start, stop = row * row_seconds, (row + 1) * row_seconds
        inside = slice(int(start * SAMPLING_RATE), int(stop * SAMPLING_RATE))
        axis.plot(time_S[inside], samples[inside] / peak, color="#222222", linewidth=0.6)
        _draw_spans(axis, units, start, stop)
        axis.set(xlim=(start, stop), ylim=(-1.75, 1.05), yticks=[])
        axis.tick_params(labelsize=8)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlabel("seconds", fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.savefig(Path(path), dpi=130)


def _draw_spans(axis: Any, units: Units, start: float, stop: float) -> None:
    """The units between two times: a coloured box with the id, a border through the waveform."""
    for unit, first, duration in zip(
        units.ids.tolist(), units.starts.tolist(), units.durations.tolist(), strict=True
    ):
        left, right = first * FRAME_SECONDS, (first + duration) * FRAME_SECONDS
        seen = max(left, start), min(right, stop)
        if seen[1] - seen[0] < FRAME_SECONDS / 2:  # rows begin and end with a frame
            continue
        axis.axvspan(
            left,
            right,
            ymin=0.0,
            ymax=0.2,
            color=PALETTE[unit % len(PALETTE)],
            alpha=0.75,
            linewidth=0,
        )
        axis.axvline(left, color="#999999", linewidth=0.35)
        axis.text(
            sum(seen) / 2,
            -1.47,
            str(unit),
            ha="center",
            va="center",
            fontsize=6.5,
            rotation=90 if seen[1] - seen[0] < 1.5 * FRAME_SECONDS else 0,
        )
