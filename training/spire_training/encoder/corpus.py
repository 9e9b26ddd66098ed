"""The synthetic corpus: planned, spoken by worker processes, kept as one int16 array with an index.

A split is `audio.npy` (int16, every utterance end to end, 16 kHz) and `utterances.jsonl`. A voice
is spoken by a fresh process from its first utterance to its last, so that the bytes do not depend
on the number of workers.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from spire_dsu.types import SAMPLING_RATE, Float32, Int32
from spire_training.encoder import phones
from spire_training.encoder.acoustics import power
from spire_training.encoder.espeak import Espeak, Int16, Speech, say_with_flite
from spire_training.encoder.sentences import Grammar
from spire_training.encoder.settings import Settings
from spire_training.encoder.voices import (
    TEST_ACCENTS,
    TEST_FLITE,
    TEST_VARIANTS,
    TRAIN_ACCENTS,
    TRAIN_FLITE,
    TRAIN_VARIANTS,
    espeak_voices,
)

SPLITS = ("train", "dev", "test")
AUDIO, INDEX = "audio.npy", "utterances.jsonl"
SPEECH_LEVEL = 0.08
"""Root mean square that every clean utterance is brought to: voices differ by 20 dB as synthesised.
"""

VOICE_SECONDS = 600
"""The longest that one voice may take to say all of its lines."""

Spoken: TypeAlias = tuple[Int16, tuple[int, ...], tuple[int, ...]]
"""Samples at 16 kHz, the first sample of each phone, the label of each phone."""

TEACHER_PITCH = 50
BABBLE_VOICES = 6
BABBLE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance to be spoken.

    `vocal_tract` is the length of the speaker's, in that of the voice as it is: 1.1 lowers pitch
    and formants by a tenth and leaves the tempo (vocal tract length perturbation, Jaitly and
    Hinton 2013, by resampling).
    """

    voice: str
    text: str
    words_per_minute: int
    pitch: int
    vocal_tract: float = 1.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance of a split: the first sample of each phone, and which phone it is."""

    voice: str
    text: str
    first: int
    samples: int
    starts: tuple[int, ...]
    labels: tuple[int, ...]


def plan(settings: Settings) -> dict[str, list[Line]]:
    """Who says what in each split. Test voices, and all texts, are of one split only; dev has the
    voices of train.
    """
    speech, rng = settings.speech, np.random.default_rng([settings.seed, 1])
    known = espeak_voices(TRAIN_ACCENTS, TRAIN_VARIANTS, speech.train_voices, rng)
    unseen = espeak_voices(TEST_ACCENTS, TEST_VARIANTS, speech.test_voices, rng)
    flite, unknown = ([f"flite:{name}" for name in names] for names in (TRAIN_FLITE, TEST_FLITE))
    flite_lines = round(speech.train_utterances * speech.flite_share)
    rosters = {
        "train": _spread(known, speech.train_utterances - flite_lines)
        + _spread(flite, flite_lines),
        "dev": _spread(known, speech.dev_utterances),
        "test": _spread(unseen + unknown, speech.test_utterances),
    }
    grammar, seen = Grammar(), set[str]()
    return {
        split: [
            Line(
                voice,
                " ".join(grammar.distinct(2, rng, seen)),
                int(rng.integers(*speech.words_per_minute, endpoint=True)),
                int(rng.integers(*speech.pitch, endpoint=True)),
            )
            for voice in rosters[split]
        ]
        for split in SPLITS
    }


def teacher_lines(settings: Settings, train: Split) -> list[Line]:
    """What the plain voices say: each training utterance again, at its rate, in its accent (flite
    voices have none of espeak-ng's: that of the settings).
    """
    planned = {line.text: line for line in plan(settings)["train"]}
    return [
        replace(
            planned[utterance.text],
            voice=settings.speech.teacher_of_flite
            if utterance.voice.startswith("flite:")
            else utterance.voice.split("+")[0],
            pitch=TEACHER_PITCH,
        )
        for utterance in train.utterances
    ]


def _spread(voices: Sequence[str], lines: int) -> list[str]:
    """`lines` names, voice by voice, as evenly as can be."""
    return sorted(voices[i % len(voices)] for i in range(lines))


def speak_apart(groups: Collection[Sequence[Line]], workers: int) -> Iterator[list[Spoken]]:
    """What `speak` makes of each group of lines, in order, each in a process of its own."""
    context = multiprocessing.get_context("forkserver")  # imports once, forks before any speech
    context.set_forkserver_preload([__name__])

    def alone(lines: Sequence[Line]) -> list[Spoken]:
        with ProcessPoolExecutor(1, context) as process:  # its death is an error here, no hang
            return process.submit(speak, lines).result(VOICE_SECONDS)

    with ThreadPoolExecutor(workers) as threads:
        yield from threads.map(alone, groups)


def speak(lines: Sequence[Line]) -> list[Spoken]:
    """The lines of one voice at 16 kHz: samples, the first sample of each phone, phone labels."""
    voice = lines[0].voice
    espeak = None if voice.startswith("flite:") else Espeak(voice)
    spoken = []
    for line in lines:
        rate = line.words_per_minute * line.vocal_tract  # resampling will slow it down again
        if espeak is None:
            speech = say_with_flite(voice.removeprefix("flite:"), line.text, 175 / rate)
        else:
            speech = espeak.say(line.text, round(rate), line.pitch)
        spoken.append(_finish(replace(speech, rate=round(speech.rate / line.vocal_tract))))
    return spoken


def _finish(speech: Speech) -> Spoken:
    """Resample and level; times move with the rate."""
    wave: Float32 = speech.samples.astype(np.float32) / np.float32(32768)
    if speech.rate != SAMPLING_RATE:
        wave = soxr.resample(wave, speech.rate, SAMPLING_RATE, quality="HQ")
    levelled = np.clip(wave.astype(np.float64) * (SPEECH_LEVEL / np.sqrt(power(wave))), -1, 1)
    scaled = tuple(round(start * SAMPLING_RATE / speech.rate) for start in speech.starts)
    labels = tuple(phones.PHONES.index(name) for name in speech.phones)
    return np.round(levelled * 32767).astype(np.int16), scaled, labels


def write_split(folder: Path, lines: Sequence[Line], min_samples: int, workers: int) -> int:
    """Speak the lines into `folder`; utterances under `min_samples` are dropped. Returns how many
    are kept.
    """
    voices: dict[str, list[Line]] = {}
    for line in lines:
        voices.setdefault(line.voice, []).append(line)
    in_order = chain.from_iterable(voices.values())
    folder.mkdir(parents=True, exist_ok=True)
    blocks, index, first = [], [], 0
    spoken = speak_apart(voices.values(), workers)
    for line, (samples, starts, labels) in zip(in_order, chain.from_iterable(spoken), strict=True):
        if samples.size < min_samples:
            continue
        index.append(Utterance(line.voice, line.text, first, samples.size, starts, labels))
        blocks.append(samples)
        first += samples.size
    np.save(folder / AUDIO, np.concatenate(blocks))
    rows = "".join(json.dumps(asdict(utterance)) + "\n" for utterance in index)
    (folder / INDEX).write_text(rows, "utf-8")  # last: it says that the split is whole
    return len(index)


class Split:
    """A spoken split: utterances by number, clean or distorted."""

    def __init__(self, folder: Path) -> None:
        self.audio: npt.NDArray[np.int16] = np.load(folder / AUDIO, mmap_mode="r")
        rows = (folder / INDEX).read_text("utf-8").splitlines()
        self.utterances = [
            Utterance(
                r["voice"],
                r["text"],
                r["first"],
                r["samples"],
                tuple(r["starts"]),
                tuple(r["labels"]),
            )
            for r in map(json.loads, rows)
        ]

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def hours(self) -> float:
        """Hours of speech."""
        return self.audio.size / SAMPLING_RATE / 3600

    @property
    def voices(self) -> int:
        """Number of voices."""
        return len({utterance.voice for utterance in self.utterances})

    def clean(self, number: int, start: int = 0, count: int | None = None) -> Float32:
        """float32 samples of one utterance, or `count` of them from `start`."""
        utterance = self.utterances[number]
        stop = utterance.samples if count is None else start + count
        block = self.audio[utterance.first + start : utterance.first + stop]
        samples: Float32 = np.divide(block, np.float32(32768), dtype=np.float32)
        return samples

    def phones(self, number: int) -> Int32:
        """int32 [T], the phone of every frame of one utterance."""
        utterance = self.utterances[number]
        starts, labels = np.array(utterance.starts, np.int64), np.array(utterance.labels, np.int32)
        return phones.frame_labels(starts, labels, utterance.samples)

    def babble(self, seed: int) -> Float32:
        """float32 [BABBLE_SECONDS * 16000]: several voices of this split talking at once."""
        rng, count = np.random.default_rng([seed, 2]), BABBLE_SECONDS * SAMPLING_RATE
        mixed = np.zeros(count, np.float32)
        for _ in range(BABBLE_VOICES):
            taken = np.resize(self.audio[int(rng.integers(self.audio.size)) :], count)
            mixed += taken.astype(np.float32) / np.float32(32768)
        return mixed
