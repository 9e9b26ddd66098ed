"""How SpireBase learned: the loss of a token by update, out of the log of `train cpt`."""

from __future__ import annotations

from pathlib import Path

from spire_dsu.errors import InputError
from spire_training.cpt.logs import read_log

SERIES = {
    "transcripts, training": "loss_transcript",
    "transcripts, held out": "held_transcript",
    "sentence pairs, held out": "held_parallel",
}
"""What is shown, and its column."""

_MEAN_OF = 50
"""Updates whose losses are one point: a single update's is noise."""

Curve = list[tuple[int, float]]
"""Updates done, and the loss."""


def read_curves(path: Path) -> dict[str, Curve]:
    """The curves that a log has; none of a file that is not there.

    Args:
        path: OUT/log.csv of `spire-dsu train cpt`.

    Returns:
        Names of `SERIES` -> points. Losses in training are means over 50 updates; held-out ones
        are as they were measured.

    Raises:
        InputError: a loss that is no number.
    """
    points: dict[str, Curve] = {name: [] for name in SERIES}
    for row in read_log(path):
        for name, column in SERIES.items():
            text = row.get(column) or "0"  # not every update measures everything
            try:
                loss = float(text)
            except ValueError as error:
                raise InputError(
                    f"{path}: {column} of update {row['step']} is {text!r}, not a number"
                ) from error
            if loss > 0:  # there is no log 0
                points[name].append((int(row["step"]), loss))
    smooth = {
        name: _means(curve) if SERIES[name].startswith("loss_") else curve
        for name, curve in points.items()
    }
    return {name: curve for name, curve in smooth.items() if curve}


def _means(curve: Curve) -> Curve:
    parts = [curve[first : first + _MEAN_OF] for first in range(0, len(curve), _MEAN_OF)]
    return [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts]
