"""Drafts as a machine would translate: right, or with a mistake or two.

A mistake is made where a translator makes it. A wrong word or a wrong form goes into the meaning
before it is written, so that what hangs on it (article, ending, verb) goes wrong with it: who takes
"Tisch" for feminine writes "die rote Tisch". A word is lost, or changes places with its neighbour,
in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from spire_training.mini.grammar import Lexicon, Sentence
from spire_training.mini.grammar.lexicon import Noun, Verb
from spire_training.mini.grammar.meaning import Clause, Phrase, Place, Time
from spire_training.mini.grammar.text import capitalized
from spire_training.mini.sentences import WRITERS

RIGHT = 0.2
"""The share of drafts without a mistake: who corrects must also learn to leave things alone."""

_MISTAKES = {"word": 0.4, "form": 0.3, "lost": 0.15, "swapped": 0.15}
_TENSES = ("present", "past", "future", "can", "must")
_OTHER_GENDERS = {"m": "fn", "f": "mn", "n": "mf"}

Part = Sentence | Clause | Phrase | Place | Time
P = TypeVar("P", bound=Part)
Change = Callable[[Any, str], Any]


class Drafter:
    """Makes drafts; equal generators give equal ones.

    Args:
        lexicon: where wrong words come from.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._classes: list[tuple[Any, ...]] = [
            *lexicon.nouns.values(),
            *lexicon.adjectives.values(),
            *lexicon.fixed.values(),
            lexicon.transitive,
            lexicon.intransitive,
            lexicon.saying,
        ]

    def draft(self, meaning: Sentence, code: str, rng: np.random.Generator) -> str:
        """A translation of the meaning into a language; one in five is right, no other is."""
        right = WRITERS[code].write(meaning)
        if rng.random() < RIGHT:
            return right
        draft = right
        while draft == right:  # not every mistake shows in every language
            count = 1 + int(rng.random() < 0.5)
            kinds = rng.choice(list(_MISTAKES), count, p=list(_MISTAKES.values())).tolist()
            draft = WRITERS[code].write(self._misread(meaning, kinds, rng))
            for kind in kinds:
                draft = _MISWRITTEN[kind](draft, rng) if kind in _MISWRITTEN else draft
        return draft

    def _misread(
        self, meaning: Sentence, kinds: Sequence[str], rng: np.random.Generator
    ) -> Sentence:
        for kind in kinds:
            change: dict[str, Change] = {
                "word": lambda part, name: self._other_word(getattr(part, name), rng),
                "form": lambda part, name: _other_form(part, name, rng),
            }
            copies = list(_copies(meaning, change[kind])) if kind in change else []
            if copies:
                meaning = copies[rng.integers(len(copies))]
        return meaning

    def _other_word(self, word: Any, rng: np.random.Generator) -> Any:
        """Another word of the same class; None for what is no word of the lexicon."""
        for row in self._classes:
            if word in row:
                place = row.index(word)
                return row[(place + int(rng.integers(1, len(row)))) % len(row)]
        return None


def _copies(part: P, change: Change) -> Iterator[P]:
    """Copies of a part of a meaning, with one thing in it changed in each.

    Args:
        part: a sentence, or what one is made of.
        change: from a part and the name of its field to the field's new value; None leaves it.
    """
    for field in fields(part):
        other = change(part, field.name)
        if other is not None:
            yield _with(part, field.name, other)
            continue
        inner = getattr(part, field.name)
        if isinstance(inner, Part):
            for copy in _copies(inner, change):
                yield _with(part, field.name, copy)


def _with(part: P, name: str, value: Any) -> P:
    return replace(part, **{name: value})


def _other_form(part: Any, name: str, rng: np.random.Generator) -> Any:
    """Wrong gender, number, article, tense or case: the value of that field, or None."""
    value = getattr(part, name)
    if isinstance(value, Noun):
        genders = _OTHER_GENDERS[value.de_gender]
        wrong = {"m": "f", "f": "m"}[value.es_gender]
        return replace(value, de_gender=genders[rng.integers(len(genders))], es_gender=wrong)
    if isinstance(value, Verb):
        return replace(value, dative=not value.dative)
    if name == "tense":
        others = [tense for tense in _TENSES if tense != value]
        return others[rng.integers(len(others))]
    if isinstance(part, Phrase) and part.noun is not None:
        if name == "plural" and part.determiner in ("the", "this", "my", "our"):
            return not part.plural
        if name == "determiner" and not part.plural:
            return {"a": "the", "the": "a"}.get(part.determiner)
    return None


def _lost(text: str, rng: np.random.Generator) -> str:
    words, mark = text[:-1].split(), text[-1]
    if len(words) < 2:
        return text
    del words[rng.integers(len(words))]
    return capitalized(" ".join(words) + mark)


def _swapped(text: str, rng: np.random.Generator) -> str:
    """Two neighbours exchanged, but never the first word: its capital would tell."""
    words, mark = text[:-1].split(), text[-1]
    if len(words) < 3:
        return text
    place = rng.integers(1, len(words) - 1)
    words[place : place + 2] = words[place + 1], words[place]
    return " ".join(words) + mark


_MISWRITTEN = {"lost": _lost, "swapped": _swapped}
