"""From the synthesisers' phoneme names to a small phone set, and from phoneme times to one label
per frame.

espeak-ng names allophones and accent variants apart ("0", "O2", "A:"); a judge of units needs
classes that mean the same in every accent. `FOLD` maps them to the ARPAbet classes that forced
aligners of English use, plus silence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import InputError
from spire_dsu.types import FRAME_SAMPLES, HOP_SAMPLES, Int32, num_frames

_CLASSES = {
    "sil": "_ _: _! _| _^_ ; ||",
    "aa": "0 O2 A: A@ A 0#",
    "ae": "a aa & a2",
    "ah": "V a# V#",
    "ao": "O: O@ o@ O",
    "aw": "aU aU@",
    "ax": "@ @- @2 @5 @# 3#",
    "ay": "aI aI@ aI3 aI2",
    "eh": "E E2 e@ E#",
    "er": "3 3: IR VR",
    "ey": "eI e: e",
    "ih": "I I2 I# i@ i@3",
    "iy": "i i:",
    "ow": "oU o o:",
    "oy": "OI",
    "uh": "U U@ U2",
    "uw": "u: u",
    "b": "b",
    "ch": "tS",
    "d": "d d# d[",
    "dh": "D",
    "dx": "t# *",
    "f": "f",
    "g": "g",
    "hh": "h h#",
    "jh": "dZ",
    "k": "k k#",
    "l": "l l# @L l-",
    "m": "m m-",
    "n": "n n-",
    "ng": "N",
    "p": "p",
    "r": "r r- r/ r2",
    "s": "s s#",
    "sh": "S",
    "t": "t t2 t[ ?",
    "th": "T",
    "v": "v v#",
    "w": "w w#",
    "y": "j",
    "z": "z z# z/",
    "zh": "Z",
}
FOLD = {name: phone for phone, names in _CLASSES.items() for name in names.split()}
PHONES = tuple(_CLASSES)
SILENCE = PHONES.index("sil")
_FLITE = {"pau": "sil", "hv": "hh", "axr": "er", "el": "l", "em": "m", "en": "n", "nx": "n"}
STOPS = frozenset(("b", "ch", "d", "dx", "g", "jh", "k", "p", "t"))


def fold(name: str) -> str:
    """The phone class of one espeak-ng phoneme.

    Raises:
        InputError: a phoneme that the table does not know.
    """
    try:
        return FOLD[name]
    except KeyError:
        raise InputError(f"espeak-ng phoneme {name!r} has no phone class") from None


def fold_flite(name: str) -> str:
    """The phone class of one of flite's phonemes, which are ARPAbet's.

    Raises:
        InputError: a phoneme that the table does not know.
    """
    phone = _FLITE.get(name, name)
    if phone not in PHONES:
        raise InputError(f"flite phoneme {name!r} has no phone class")
    return phone


def include_closures(
    starts: list[int], phones: list[str], samples: npt.NDArray[np.int16], rate: int
) -> list[int]:
    """Move the start of each stop to the start of the silence before it.

    espeak-ng dates a stop at its burst and leaves the closure to the phone before; in phonetics,
    and in the forced alignments that units are usually judged with, the closure is part of the
    stop.

    Args:
        starts: first sample of each phone, ascending.
        phones: phone classes, as long as `starts`.
        samples: int16 [S] at `rate` per second, before any distortion.
        rate: samples per second.
    """
    quiet = np.abs(samples.astype(np.int32)) <= 32
    moved = list(starts)
    shortest = rate // 100
    for i in range(1, len(starts)):
        if phones[i] not in STOPS:
            continue
        loud = np.flatnonzero(~quiet[starts[i - 1] : starts[i]])
        closure = starts[i - 1] + (int(loud[-1]) + 1 if loud.size else 0)
        if loud.size and starts[i] - closure >= shortest:
            moved[i] = closure
    return moved


def frame_labels(starts: npt.NDArray[np.int64], phones: Int32, samples: int) -> Int32:
    """The phone at the centre of each frame.

    Args:
        starts: int64 [P], the first sample of each phone at 16 kHz, ascending.
        phones: int32 [P], indices into `PHONES`.
        samples: length of the utterance at 16 kHz.

    Returns:
        int32 [T]; silence before the first phone.
    """
    centres = np.arange(num_frames(samples)) * HOP_SAMPLES + FRAME_SAMPLES // 2
    index = np.searchsorted(starts, centres, side="right") - 1
    labels = phones[np.maximum(index, 0)]
    return np.where(index < 0, SILENCE, labels).astype(np.int32)
