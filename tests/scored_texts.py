"""Texts for the tests of metrics: systems that are worse than their references in known ways."""

from __future__ import annotations

import random
from collections.abc import Sequence

from spire_evaluation.segments import Joined, Segment

TEXT = (
    "the colour of a grey house by the sea is what mister smith paid twenty three dollars for in "
    "march , and then nobody went home to see whether rain fell on hills or not ."
)
WORDS = TEXT.split(" ")


def references(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 24))) for _ in range(count)]


def spoil(texts: Sequence[str], rate: float, seed: int) -> list[str]:
    """Words replaced at a rate, dropped and doubled at a third of it each."""
    rng = random.Random(seed)
    spoiled = []
    for text in texts:
        words: list[str] = []
        for word in text.split():
            chance = rng.random() / rate
            words += (
                [rng.choice(WORDS)]
                if chance < 1
                else []
                if chance < 4 / 3
                else [word, word]
                if chance < 5 / 3
                else [word]
            )
        spoiled.append(" ".join(words))
    return spoiled


def joined(
    texts: Sequence[str], answers: Sequence[str], speakers: Sequence[str] | None = None
) -> Joined:
    """References 0, 1, 2, ... with these answers; each its own source."""
    names = speakers or [None] * len(texts)
    segments = tuple(
        Segment(id=str(i), text=text, source=text, speaker=speaker)
        for i, (text, speaker) in enumerate(zip(texts, names, strict=True))
    )
    return Joined(segments, tuple(answers))
