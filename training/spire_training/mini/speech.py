"""The voices of the miniature's speakers: synthesised, put into rooms and noise, at 16 kHz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from spire_dsu.types import SAMPLING_RATE, Float32
from spire_training.encoder.acoustics import Acoustics
from spire_training.encoder.corpus import Line, speak_apart
from spire_training.encoder.espeak import Int16
from spire_training.encoder.settings import Distortion
from spire_training.encoder.voices import (
    TEST_FLITE,
    TEST_VARIANTS,
    TRAIN_FLITE,
    TRAIN_VARIANTS,
    espeak_voices,
)
from spire_training.mini.sentences import Triple
from spire_training.mini.settings import Corpus, Voices, World

BABBLE_SECONDS = 60
BABBLE_VOICES = 4


@dataclass(frozen=True, slots=True)
class Recording:
    """One spoken sentence: its number in the corpus, who says it, all texts, int16 at 16 kHz."""

    number: int
    speaker: int
    sentence: Triple
    samples: Int16


def roster(voices: Voices, part: str, seed: int) -> list[str]:
    """The names of the voices of "train" or "test", by turns; no voice is in both."""
    rng = np.random.default_rng([seed, 2])
    train = espeak_voices(tuple(voices.accents), TRAIN_VARIANTS, voices.train, rng)
    test = espeak_voices(tuple(voices.accents), TEST_VARIANTS, voices.test, rng)
    if part == "test":
        return [*test, *(f"flite:{name}" for name in TEST_FLITE)]
    return [*train, *(f"flite:{name}" for name in TRAIN_FLITE for _ in range(voices.flite))]


def speak(
    world: World, corpus: Corpus, index: int, sentences: Sequence[Triple], workers: int
) -> Iterator[Recording]:
    """The recordings of a corpus, voice by voice; equal settings give equal samples.

    Args:
        world: the settings.
        corpus: which one; its number among them all is `index`, which seeds it.
        sentences: what is said, in the order of their numbers.
        workers: processes that synthesise at a time.
    """
    rng = np.random.default_rng([world.seed, 3, index])
    names = roster(world.voices, corpus.voices, world.seed)
    lengths = np.ones(len(sentences))
    if corpus.voices == "train":
        lengths = np.random.default_rng([world.seed, 5, index]).uniform(
            *world.voices.vocal_tract, len(sentences)
        )
    said = [
        (
            number,
            Line(
                names[number % len(names)],
                sentence["en"],
                int(rng.integers(*world.voices.words_per_minute, endpoint=True)),
                int(rng.integers(*world.voices.pitch, endpoint=True)),
                float(lengths[number]),
            ),
        )
        for number, sentence in enumerate(sentences)
    ]
    groups = [[row for row in said if row[1].voice == name] for name in dict.fromkeys(names)]
    groups = [group for group in groups if group]
    spoken = speak_apart([[line for _, line in group] for group in groups], workers)
    acoustics: Acoustics | None = None
    for group, results in zip(groups, spoken, strict=True):
        clean = [result[0] for result in results]
        if acoustics is None:
            acoustics = Acoustics(_distortion(world, corpus), _babble(clean, rng), world.seed)
        for (number, line), samples in zip(group, clean, strict=True):
            own = np.random.default_rng([world.seed, 4, index, number])
            heard = acoustics.distort(_as_float(samples), own)
            speaker = names.index(line.voice)
            yield Recording(number, speaker, sentences[number], _as_int16(heard))


def _distortion(world: World, corpus: Corpus) -> Distortion:
    if corpus.snr_db is None:
        return world.distortion
    return world.distortion.model_copy(update={"snr_db": corpus.snr_db})


def _babble(clean: Sequence[Int16], rng: np.random.Generator) -> Float32:
    """Several sentences at once, over and over: the noise of a full room."""
    count = BABBLE_SECONDS * SAMPLING_RATE
    mixed = np.zeros(count, np.float32)
    for _ in range(BABBLE_VOICES):
        order = rng.permutation(len(clean))
        mixed += np.resize(np.concatenate([_as_float(clean[i]) for i in order]), count)
    return mixed


def _as_float(samples: Int16) -> Float32:
    scaled: Float32 = np.divide(samples, np.float32(32768), dtype=np.float32)
    return scaled


def _as_int16(samples: Float32) -> Int16:
    rounded: Int16 = np.round(np.clip(samples, -1, 1) * np.float32(32767)).astype(np.int16)
    return rounded
