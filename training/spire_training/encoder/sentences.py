"""Sentences from a small grammar: thousands of distinct texts with every English phoneme in many
contexts.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from spire_dsu.config import Config, load_toml

SLOT = re.compile(r"\{(\w+)\}")


class Lexicon(Config):
    """Patterns with slots, and the words for each slot."""

    patterns: tuple[str, ...]
    name: tuple[str, ...]
    place: tuple[str, ...]
    number: tuple[str, ...]
    time: tuple[str, ...]
    preposition: tuple[str, ...]
    adverb: tuple[str, ...]
    adjective: tuple[str, ...]
    noun: tuple[str, ...]
    plural: tuple[str, ...]
    verb: tuple[str, ...]
    past: tuple[str, ...]


class Grammar:
    """Patterns with slots, and the words that fill them, from `lexicon.toml`."""

    def __init__(self) -> None:
        self.lexicon = load_toml(Path(__file__).with_name("lexicon.toml"), Lexicon)

    def sentence(self, rng: np.random.Generator) -> str:
        """One sentence, drawn with `rng`; equal generators give equal sentences."""
        pattern = self._draw(self.lexicon.patterns, rng)

        def draw(slot: re.Match[str]) -> str:
            return self._draw(getattr(self.lexicon, slot.group(1)), rng)

        text = SLOT.sub(draw, pattern)
        return text[0].upper() + text[1:] + ("?" if text.startswith(("why", "who")) else ".")

    @staticmethod
    def _draw(choices: tuple[str, ...], rng: np.random.Generator) -> str:
        return choices[rng.integers(len(choices))]

    def distinct(self, count: int, rng: np.random.Generator, seen: set[str]) -> list[str]:
        """`count` sentences that are not in `seen`; `seen` grows by them, so that no two splits
        share one.
        """
        sentences: list[str] = []
        while len(sentences) < count:
            text = self.sentence(rng)
            if text not in seen:
                seen.add(text)
                sentences.append(text)
        return sentences
