"""Sentences in all three languages, each English one drawn once in the whole world."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from spire_dsu.errors import ConfigError
from spire_training.mini.grammar import English, German, Sampler, Sentence, Spanish, load_lexicon
from spire_training.mini.grammar.meaning import Kind

WRITERS: dict[str, English | German | Spanish] = {
    writer.code: writer for writer in (English(), German(), Spanish())
}
LANGUAGES = tuple(WRITERS)
Triple = dict[str, str]
"""One sentence by language."""

_MOST_IDLE = 20_000
"""Sentences in a row that were drawn before: the world is exhausted."""


class Source:
    """Draws sentences; no English text comes twice, so that no test sentence was trained on."""

    def __init__(self, seed: int, words: float, kinds: Collection[Kind] = ()) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._sampler = Sampler(load_lexicon(), words)
        self._kinds = kinds
        self._seen: set[str] = set()

    def draw(self, count: int, wanted: Callable[[Triple], bool] = lambda _: True) -> list[Triple]:
        """`count` sentences that were never drawn before.

        Args:
            count: how many.
            wanted: what is not wanted is passed over; it may still be drawn later.

        Raises:
            ConfigError: so small a world has not that many.
        """
        return [triple for _, triple in self.draw_meanings(count, wanted)]

    def draw_meanings(
        self, count: int, wanted: Callable[[Triple], bool] = lambda _: True
    ) -> list[tuple[Sentence, Triple]]:
        """As `draw`, each sentence behind what it means."""
        drawn: list[tuple[Sentence, Triple]] = []
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
            triple = {code: writer.write(meaning) for code, writer in WRITERS.items()}
            if triple["en"] not in self._seen and wanted(triple):
                self._seen.add(triple["en"])
                drawn.append((meaning, triple))
                idle = 0
        return drawn
