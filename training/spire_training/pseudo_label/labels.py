"""Answers become translations, translations scored pairs, pairs samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from spire_dsu.llm.generation import Answer
from spire_training.data.hashing import hash_of


@dataclass(frozen=True, slots=True)
class Label:
    """A translation that was kept.

    Attributes:
        id: of its utterance.
        lang: of the text.
        text: one line.
        score: of the scorer.
    """

    id: str
    lang: str
    text: str
    score: float


def translations(answers: Mapping[str, Answer], counts: Counter[str]) -> dict[str, str]:
    """The answers that are one whole line, by id.

    Args:
        answers: by id.
        counts: is told why others are refused: "empty", "newline" inside of it, "length" when it
            was cut at the limit of tokens.
    """
    good = {}
    for name, answer in answers.items():
        text = answer.text.strip()
        if answer.finish == "length":
            counts["refused: length"] += 1
        elif not text:
            counts["refused: empty"] += 1
        elif len(text.splitlines()) > 1:
            counts["refused: newline"] += 1
        else:
            good[name] = text
    counts["translated"] = len(good)
    return good


def keep(
    texts: Mapping[str, str],
    scores: Mapping[str, float],
    lang: str,
    threshold: float,
    counts: Counter[str],
) -> list[Label]:
    """Translations with a score of at least the threshold, joined by id."""
    kept = [
        Label(name, lang, text, scores[name])
        for name, text in texts.items()
        if scores[name] >= threshold
    ]
    counts["kept"] = len(kept)
    counts["dropped: score"] = len(texts) - len(kept)
    return kept


def sample(
    labels: list[Label], direct: int, multi_turn: int, *key: object
) -> tuple[list[Label], list[Label]]:
    """Two disjoint samples; if there are too few for both, each gives up the same share.

    Args:
        labels: to choose from.
        direct: size of the first sample at most.
        multi_turn: size of the second at most.
        key: seed, corpus and language: what the choice depends on, besides the ids.
    """
    ranked = sorted(labels, key=lambda label: (hash_of(*key, label.id), label.id))
    first = min(direct, len(ranked) * direct // (direct + multi_turn))
    return ranked[:first], ranked[first : first + multi_turn]
