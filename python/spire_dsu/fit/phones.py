"""Phone times of some utterances, for the share of the phones that units tell (PNMI).

One JSON object a line: {"id": "utt-7", "starts": [0.0, 0.31, 0.4], "phones": ["sil", "ae", "t"]},
seconds from the start of the utterance; a phone lasts until the next one, the last one until the
end. That is what forced alignments (CTM, TextGrid) boil down to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import InputError
from spire_dsu.textio import read_lines
from spire_dsu.types import FRAME_SAMPLES, HOP_SAMPLES, SAMPLING_RATE

Int16 = npt.NDArray[np.int16]


class PhoneTimes:
    """Which phone a frame belongs to.

    Attributes:
        names: the phones that occur; the label of a frame is an index into it.
    """

    def __init__(self, path: str | os.PathLike[str], ids: Collection[str]) -> None:
        """Reads the times of the utterances of these ids; those of others are passed over.

        Raises:
            InputError: names file and line: not such an object, times that fall, or an id twice;
                or no id of the file is among `ids`.
            ManifestError: the file cannot be read.
        """
        self.names: list[str] = []
        self._times: dict[str, tuple[npt.NDArray[np.float64], Int16]] = {}
        labels: dict[str, int] = {}
        for number, line in read_lines(path):
            name, starts, phones = _parse(line, f"{path}: line {number}")
            if name in self._times:
                raise InputError(f"{path}: line {number}: id {name!r} is there twice")
            if name in ids:
                indices = [labels.setdefault(phone, len(labels)) for phone in phones]
                self._times[name] = np.array(starts, np.float64), np.array(indices, np.int16)
        self.names = list(labels)
        if not self._times:
            raise InputError(f"{path}: no id in it is among the {len(ids)} rows that were chosen")

    def __len__(self) -> int:
        return len(self._times)

    def labels(self, name: str, frames: npt.NDArray[np.int64]) -> Int16 | None:
        """int16 [T]: the phone at the middle of each of these frames of an utterance; or None.

        Frames before the first start belong to the first phone.
        """
        if name not in self._times:
            return None
        starts, phones = self._times[name]
        middles = (frames * HOP_SAMPLES + FRAME_SAMPLES / 2) / SAMPLING_RATE
        index = np.searchsorted(starts, middles, side="right") - 1
        return np.asarray(phones[np.maximum(index, 0)])


def _parse(line: str, where: str) -> tuple[str, list[float], list[str]]:
    try:
        item: Any = json.loads(line)
        name, starts, phones = item["id"], item["starts"], item["phones"]
        good = isinstance(name, str) and len(starts) == len(phones) > 0
        good = good and all(isinstance(each, str) for each in phones)
        good = good and all(isinstance(each, int | float) for each in starts)
    except (ValueError, KeyError, TypeError, RecursionError):
        good = False
    if not good:
        raise InputError(
            f'{where}: needs {{"id": ..., "starts": [seconds], "phones": [names]}}, '
            f"got {line[:80]!r}"
        )
    if not np.isfinite(starts).all() or (np.diff(starts) < 0).any():
        raise InputError(f"{where}: the starts of {name!r} are not ascending")
    return name, [float(each) for each in starts], phones
