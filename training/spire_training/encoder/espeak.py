"""espeak-ng through its shared library: speech with the time of every phoneme.

The library keeps state from one utterance to the next (the phase of its noise source among others),
so equal calls give equal samples only from equal histories: `corpus` gives each voice a process of
its own. The API is `speak_lib.h`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from spire_dsu.errors import SpireError
from spire_training.encoder import phones

Int16 = npt.NDArray[np.int16]

_SYNCHRONOUS = 2
_PHONEME_EVENTS = 0x0001
_DONT_EXIT = 0x8000
_UTF8_WITH_END_PAUSE = 0x1 | 0x1000
_EVENT_END_OF_LIST, _EVENT_PHONEME = 0, 7
_RATE, _PITCH, _RANGE = 1, 3, 4


class SynthesisError(SpireError):
    """A synthesiser that is missing, or that refused a voice or a text."""


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Speech:
    """Synthetic speech: int16 samples, their rate, and the first sample of each phone (its class:
    `phones.PHONES`).
    """

    samples: Int16
    rate: int
    starts: tuple[int, ...]
    phones: tuple[str, ...]


class Espeak:
    """One espeak-ng voice in this process; one at a time, as the library is global."""

    def __init__(self, voice: str) -> None:
        library = ctypes.util.find_library("espeak-ng")
        if library is None:
            raise SynthesisError("libespeak-ng is not installed (Debian package espeak-ng)")
        self._library = ctypes.CDLL(library)
        self._rate = int(
            self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _DONT_EXIT)
        )
        if self._rate <= 0:
            raise SynthesisError(f"espeak-ng did not start: status {self._rate}")
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SynthesisError(f"espeak-ng has no voice {voice!r}")
        self._blocks: list[Int16] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(
        self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]
    ) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type != _EVENT_END_OF_LIST:
            if events[i].type == _EVENT_PHONEME:
                self._events.append((events[i].sample, bytes(events[i].id.string).decode()))
            i += 1
        return 0

    def say(self, text: str, words_per_minute: int, pitch: int, pitch_range: int = 50) -> Speech:
        """Speak one text; pitch and its range are espeak-ng's 0 to 100."""
        self._blocks, self._events = [], []
        for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        status = self._library.espeak_Synth(
            data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _UTF8_WITH_END_PAUSE, None, None
        )
        self._library.espeak_Synchronize()
        if status != 0 or not self._blocks:
            raise SynthesisError(f"espeak-ng made no speech of {text!r}: status {status}")
        samples = np.concatenate(self._blocks)
        names = [phones.fold(name) for _, name in self._events]
        starts = [start for start, _ in self._events]
        starts = phones.include_closures(starts, names, samples, self._rate)
        return Speech(samples, self._rate, tuple(starts), tuple(names))


def say_with_flite(voice: str, text: str, stretch: float) -> Speech:
    """Speak one text with a flite voice; `stretch` 1.1 is a tenth slower."""
    program = shutil.which("flite")
    if program is None:
        raise SynthesisError("flite is not installed (Debian package flite)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        settings = ["-voice", voice, "--setf", f"duration_stretch={stretch:.3f}"]
        said = subprocess.run(  # noqa: S603  (no shell, and the words are ours)
            [program, *settings, "-psdur", "-t", text, "-o", str(path)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        samples, rate = soundfile.read(path, dtype="int16")
    # what it prints: each phoneme and the second at which it ends
    pairs = [item.split(":") for item in said.stdout.split()]
    ends = [round(float(end) * rate) for _, end in pairs]
    names = [phones.fold_flite(name) for name, _ in pairs]
    return Speech(samples, rate, (0, *ends[:-1]), tuple(names))
