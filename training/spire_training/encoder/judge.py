"""Are the units phones? Purity of a codebook on speech with known phones, beside k-means over MFCC.

The layer is chosen on dev (known voices, other sentences); test (unknown voices and sentences) is
measured once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from spire_dsu.kmeans import KMeansReport
from spire_dsu.purity import Purity, measure_purity
from spire_dsu.types import Float32
from spire_dsu.units import assign
from spire_training.encoder.corpus import Split
from spire_training.encoder.mfcc import mfcc
from spire_training.encoder.model import LayerFeatures
from spire_training.encoder.stages import Report, Work
from spire_training.encoder.targets import Extractor, fit_codebook, total_frames

QUICK_SHARE = 4
"""A codebook that only compares layers is fitted on this much less speech."""


def measure(features: Iterable[Float32], centroids: Float32, split: Split) -> Purity:
    """Purity over every frame of a split whose phones are known; features of each utterance."""
    units = np.concatenate([assign(features_TD, centroids) for features_TD in features])
    return measure_purity(units, np.concatenate([split.phones(i) for i in range(len(split))]))


def heard(work: Work, share: int = 1) -> Iterator[Float32]:
    """Distorted training speech for a codebook.

    Whole utterances are taken, evenly over the voices: it is the encoder that takes the time.
    """
    wanted = work.settings.codebook.frames // share
    return work.distorted("train", max(1, total_frames(work.split("train")) // wanted))


def units_of(extractor: Extractor, work: Work) -> tuple[Float32, KMeansReport]:
    """The recipe's codebook over these features of the distorted training speech."""
    return fit_codebook(map(extractor, heard(work)), work.settings.codebook, work.settings.seed)


def layer_scores(work: Work, number: int, report: Report) -> dict[int, Purity]:
    """Purity on dev of each layer after round `number`."""
    extractor = LayerFeatures(work.encoder_after(number), work.settings.encoder.num_hidden_layers)
    train = zip(*map(extractor.each, heard(work, QUICK_SHARE)), strict=True)
    dev = zip(*map(extractor.each, work.distorted("dev")), strict=True)
    scores = {}
    for layer, (fitted, judged) in enumerate(zip(train, dev, strict=True), 1):
        centroids, _ = fit_codebook(fitted, work.settings.codebook, work.settings.seed)
        scores[layer] = measure(judged, centroids, work.split("dev"))
        report(f"round {number}, layer {layer}, dev: {scores[layer]}")
    return scores


@dataclass(frozen=True, slots=True)
class Verdict:
    """One codebook on the test split: as distorted as the training speech, and clean."""

    distorted: Purity
    clean: Purity

    def figures(self, name: str) -> dict[str, float]:
        """Flat figures: `pnmi_<name>`, `phone_purity_<name>` ..., and the same of clean speech with
        `_clean`.
        """
        sides = (("", self.distorted), ("_clean", self.clean))
        return {
            f"{measure}_{name}{suffix}": value
            for suffix, purity in sides
            for measure, value in asdict(purity).items()
        }


def judge(extractor: Extractor, centroids: Float32, work: Work) -> Verdict:
    """Measure a codebook on the test split."""
    test = work.split("test")
    return Verdict(
        measure(map(extractor, work.distorted("test")), centroids, test),
        measure(map(extractor, work.clean("test")), centroids, test),
    )


def judge_mfcc(work: Work, report: Report) -> Verdict:
    """The baseline: as many clusters of MFCC of the same speech, normalised per utterance or not,
    whichever is better.
    """
    verdicts = []
    for normalise in (False, True):
        extractor = functools.partial(mfcc, normalise=normalise)
        centroids, _ = units_of(extractor, work)
        verdicts.append(judge(extractor, centroids, work))
        report(f"MFCC, normalise={normalise}, test: {verdicts[-1]}")
    return max(verdicts, key=lambda verdict: verdict.distorted.pnmi)
