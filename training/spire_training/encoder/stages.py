"""The stages between speech and model folder, and where each leaves its files.

WORK/speech/{train,dev,test}/   corpus
WORK/speech/teacher/            what train says, by the plain voices
WORK/round1/  WORK/round2/ ...  targets.npy, checkpoint.safetensors, log.jsonl
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import HubertModel

from spire_dsu.types import SAMPLING_RATE, Float32
from spire_training.encoder import corpus, mfcc
from spire_training.encoder.acoustics import Acoustics
from spire_training.encoder.batches import Batches
from spire_training.encoder.model import LayerFeatures, MaskedPredictor, build_encoder
from spire_training.encoder.pretrain import CHECKPOINT, Round, load_model
from spire_training.encoder.settings import Settings
from spire_training.encoder.targets import Extractor, Targets, write_targets

TEACHER = "teacher"
Report = Callable[[str], None]


class Work:
    """The files of one run of the recipe.

    Args:
        settings: of the recipe.
        folder: the work folder.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder

    @functools.cache  # noqa: B019  # lives as long as the command
    def split(self, name: str) -> corpus.Split:
        """A spoken split."""
        return corpus.Split(self.folder / "speech" / name)

    @functools.cache  # noqa: B019
    def acoustics(self) -> Acoustics:
        """Distortion with the babble of the training voices."""
        seed = self.settings.seed
        return Acoustics(self.settings.distortion, self.split("train").babble(seed), seed)

    def clean(self, name: str) -> Iterator[Float32]:
        """The utterances of a split as they were spoken."""
        split = self.split(name)
        return (split.clean(number) for number in range(len(split)))

    def distorted(self, name: str, every: int = 1) -> Iterator[Float32]:
        """Every so manieth utterance of a split, each distorted in its own fixed way."""
        split, stream = self.split(name), corpus.SPLITS.index(name)
        for number in range(0, len(split), every):
            rng = np.random.default_rng([self.settings.seed, 3, stream, number])
            yield self.acoustics().distort(split.clean(number), rng)

    def round_folder(self, number: int) -> Path:
        """Where round `number`, from 1, leaves its files."""
        return self.folder / f"round{number}"

    def fresh_model(self, number: int) -> MaskedPredictor:
        """The untrained model of round `number`, from 1."""
        torch.manual_seed(self.settings.seed * 1_000 + number)
        encoder = build_encoder(self.settings.encoder)
        return MaskedPredictor(encoder, self.settings.rounds[number - 1].clusters)

    def encoder_after(self, number: int) -> HubertModel:
        """The encoder as round `number` left it."""
        model = self.fresh_model(number)
        load_model(model, self.round_folder(number))
        return model.encoder


def speak(work: Work, workers: int, report: Report) -> None:
    """Stage 1: the corpus. A split that is whole is kept."""
    least = round(work.settings.speech.min_seconds * SAMPLING_RATE)
    for name, lines in corpus.plan(work.settings).items():
        folder = work.folder / "speech" / name
        if not (folder / corpus.INDEX).exists():
            corpus.write_split(folder, lines, least, workers)
        report(f"{name}: {len(work.split(name))} utterances, {work.split(name).hours:.2f} h")
    folder = work.folder / "speech" / TEACHER
    if not (folder / corpus.INDEX).exists():
        lines = corpus.teacher_lines(work.settings, work.split("train"))
        corpus.write_split(folder, lines, 0, workers)


def make_targets(work: Work, number: int, report: Report) -> Path:
    """Stage 2 of round `number`: cluster the features of the teacher's speech and label what the
    others say by it.
    """
    path = work.round_folder(number) / "targets.npy"
    if path.exists():
        return path
    settings, split = work.settings, work.split("train")
    this = settings.rounds[number - 1]
    extractor: Extractor = functools.partial(mfcc.mfcc, normalise=True)
    if this.source == "encoder":
        extractor = LayerFeatures(work.encoder_after(number - 1), this.layer)
    codebook = settings.codebook.model_copy(update={"clusters": this.clusters})
    seed, frames = settings.seed + number, settings.codebook.frames
    fit = write_targets(path, split, work.split(TEACHER), extractor, codebook, frames, seed)
    report(f"round {number}: {fit}")
    return path


def pretrain(work: Work, number: int, report: Report) -> None:
    """Stage 3 of round `number`: masked prediction of its targets, from its checkpoint if there is
    one.
    """
    settings, split = work.settings, work.split("train")
    this, folder = settings.rounds[number - 1], work.round_folder(number)
    targets = Targets(make_targets(work, number, report), split)
    model = work.fresh_model(number)
    if this.continued and not (folder / CHECKPOINT).exists():
        model.encoder.load_state_dict(work.encoder_after(number - 1).state_dict())
    batches = Batches(settings, split, targets, work.acoustics(), number)
    Round(model, settings, this.steps, folder).run(batches, report)
