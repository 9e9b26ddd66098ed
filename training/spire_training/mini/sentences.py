"""Sentences in all three languages, each English one drawn once in the whole world."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from spire_dsu.errors import ConfigError
from spire_training.mini.grammar import English, German, Sampler, Spanish, load_lexicon
from spire_training.mini.grammar.meaning import Kind

LANGUAGES = ("en", "de", "es")
Triple = dict[str, str]
"""One sentence by language."""

_MOST_IDLE = 20_000
"""Sentences in a row that were drawn before: the world is exhausted."""


class Source:
    """Draws sentences; no English text comes twice, so that no test sentence was trained on."""

    def __init__(self, seed: int, words: float, kinds: Collection[Kind] = ()) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._sampler = Sampler(load_lexicon(), words)
        self._writers = (English(), German(), Spanish())
        self._kinds = kinds
        self._seen: set[str] = set()

    def draw(self, count: int) -> list[Triple]:
        """`count` sentences that were never drawn before.

        Raises:
            ConfigError: so small a world has not that many.
        """
        drawn: list[Triple] = []
        idle = 0
        while len(drawn) < count:
            meaning = self._sampler.sentence(self._rng)
            if self._kinds and meaning.kind not in self._kinds:
                continue
            idle += 1
            if idle > _MOST_IDLE:
                raise ConfigError(
                    f"the world has no {count} new sentences, only {len(drawn)}: give it more "
                    "words or kinds, or ask for less"
                )
            triple = {writer.code: writer.write(meaning) for writer in self._writers}
            if triple["en"] not in self._seen:
                self._seen.add(triple["en"])
                drawn.append(triple)
                idle = 0
        return drawn
