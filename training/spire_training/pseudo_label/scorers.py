"""Scores of translations without references, from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from spire_dsu.llm.comet import run_comet
from spire_training.pseudo_label.settings import PseudoLabelConfig

Pair = tuple[str, str]
"""A transcript and its translation."""


class Scorer(Protocol):
    """Scores pairs; `about` says how, as far as is known after the first call."""

    about: dict[str, Any]

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """One score per pair, in order."""


class Comet:
    """COMET without references, in its own environment. See `spire_dsu.llm.comet`."""

    def __init__(self, config: PseudoLabelConfig) -> None:
        self._config = config
        self.about: dict[str, Any] = {"scorer": "comet", "model": config.comet_model}

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        run = run_comet(
            [[{"src": source, "mt": translation} for source, translation in pairs]],
            model=self._config.comet_model,
            referenceless=True,
            environment=self._config.environment,
            batch_size=self._config.score_batch,
        )
        self.about |= asdict(run.details)
        return run.scores[0]


class LengthRatio:
    """The shorter text's share of the longer one, in bytes of UTF-8.

    No judgement of a translation: it finds answers that broke off or ran on, where no weights of
    COMET are at hand. Bytes, as a Chinese sentence has a third of an English one's characters.
    """

    def __init__(self) -> None:
        self.about: dict[str, Any] = {"scorer": "length-ratio"}

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        scores = []
        for source, translation in pairs:
            short, long = sorted((len(source.encode()), len(translation.encode())))
            scores.append(short / long if long else 0.0)
        return scores


def scorer_of(config: PseudoLabelConfig) -> Scorer:
    """The scorer that a run asks for."""
    return Comet(config) if config.scorer == "comet" else LengthRatio()
