"""Sentences in all three languages, each English one drawn once in the whole world."""

from __future__ import annotations

import numpy as np

from spire_training.mini.grammar import English, German, Sampler, Spanish, load_lexicon

LANGUAGES = ("en", "de", "es")
Triple = dict[str, str]
"""One sentence by language."""


class Source:
    """Draws sentences; no English text comes twice, so that no test sentence was trained on."""

    def __init__(self, seed: int, words: float) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._sampler = Sampler(load_lexicon(), words)
        self._writers = (English(), German(), Spanish())
        self._seen: set[str] = set()

    def draw(self, count: int) -> list[Triple]:
        """`count` sentences that were never drawn before."""
        drawn: list[Triple] = []
        while len(drawn) < count:
            meaning = self._sampler.sentence(self._rng)
            triple = {writer.code: writer.write(meaning) for writer in self._writers}
            if triple["en"] not in self._seen:
                self._seen.add(triple["en"])
                drawn.append(triple)
        return drawn
