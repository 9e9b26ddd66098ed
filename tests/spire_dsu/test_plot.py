"""The picture of units: every unit is there, in rows of one length."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from spire_dsu.plot import draw_units
from spire_dsu.types import Units


@pytest.mark.parametrize(
    ("samples", "rows"), [(100, 1), (720, 1), (28_000, 1), (38_625, 2), (66_600, 3)]
)
def test_rows_have_one_length_and_none_is_nearly_empty(
    tmp_path: Path, samples: int, rows: int
) -> None:
    frames = max(0, (samples - 400) // 320 + 1)
    ids = np.arange(frames, dtype=np.int32) + 100
    units = Units(ids, np.ones(frames, np.int32))
    wave = np.sin(np.arange(samples) / 9).astype(np.float32)
    draw_units(wave, units, tmp_path / "units.svg")
    drawn = (tmp_path / "units.svg").read_text()
    assert len(re.findall(r'id="axes_\d+"', drawn)) == rows
    # matplotlib says in a comment what a path of text reads: each id once, whatever row it is in
    said = re.findall(r"<!-- (\d{3,}) -->", drawn)
    assert sorted(map(int, said)) == ids.tolist()
