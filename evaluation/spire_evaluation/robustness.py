"""Harder versions of an ASR test set: noise and speed, from the same recordings.

librispeech/test-clean@noise10     white noise, 10 dB below the speech
librispeech/test-clean@speed0.9    played at nine tenths of the speed, pitch and all
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spire_dsu.errors import AudioError, ConfigError
from spire_dsu.types import SAMPLING_RATE, AudioFile, Float32
from spire_evaluation.config import TestConfig
from spire_evaluation.items import Item, TestSet
from spire_evaluation.speech import wave

Change = Callable[[Float32, str], Float32]


def variants(test: TestSet, config: TestConfig, out: Path) -> list[TestSet]:
    """The versions that a configuration asks for; their recordings are written below `out`.

    Args:
        test: of ASR.
        config: with `noise` (signal to noise, dB) and `speed` (factors).
        out: a folder; a recording that is there already is taken as it is.

    Raises:
        ConfigError: it is no ASR test set.
    """
    changes: dict[str, Change] = {f"noise{level:g}": _noise(level) for level in config.noise}
    changes |= {f"speed{factor:g}": _speed(factor) for factor in config.speed}
    if changes and test.task != "asr":
        raise ConfigError(f"{test.key}: noise and speed are for ASR, this is {test.task}")
    return [
        dataclasses.replace(
            test,
            key=f"{test.key}@{name}",
            items=tuple(_changed(item, change, out / test.key / name) for item in test.items),
        )
        for name, change in changes.items()
    ]


def _changed(item: Item, change: Change, folder: Path) -> Item:
    import soundfile

    assert item.speech is not None  # of an ASR test set
    # Ids are never paths.
    name = hashlib.sha256(item.id.encode()).hexdigest()[:24]
    path = folder / f"{name}.wav"
    if not path.exists():
        try:
            samples = change(wave(item), item.id)
        except AudioError:
            return item  # it has no units, and none in a harder version
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        soundfile.write(temporary, samples, SAMPLING_RATE, subtype="FLOAT", format="WAV")
        temporary.replace(path)
    speech = dataclasses.replace(
        item.speech,
        audio=AudioFile(str(path.absolute())),
        source=f"{item.speech.source}@{folder.name}",
        offset=0.0,
        duration=None,
        expected=None,
    )
    return dataclasses.replace(item, speech=speech)


def _noise(level: float) -> Change:
    def change(samples: Float32, name: str) -> Float32:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        noise = np.random.default_rng(seed).standard_normal(samples.size)
        scale = (power / 10 ** (level / 10)) ** 0.5
        made: Float32 = (samples + scale * noise).astype(np.float32)
        return made

    return change


def _speed(factor: float) -> Change:
    def change(samples: Float32, name: str) -> Float32:
        import soxr

        del name
        made: Float32 = np.asarray(
            soxr.resample(samples, SAMPLING_RATE * factor, SAMPLING_RATE), np.float32
        )
        return made

    return change
