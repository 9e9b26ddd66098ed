"""What a sentence says, before any language: drawn at random, with numbers, times and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from spire_training.mini.grammar.lexicon import GROUPS, Adjective, Lexicon, Noun, Verb, Words

T = TypeVar("T")
Tense = Literal["present", "past", "perfect", "future", "can", "must"]
Determiner = Literal["the", "a", "this", "my", "our", "number"]
Kind = Literal["statement", "question", "because", "that", "copula", "comparison"]

NAMED = ("she", "he", "they", "we")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase: a name, a pronoun, or a noun with what belongs to it."""

    noun: Noun | None = None
    name: str = ""
    pronoun: str = ""
    woman: bool = False
    determiner: Determiner = "the"
    number: int = 1
    plural: bool = False
    adjective: Adjective | None = None

    @property
    def animate(self) -> bool:
        """Whether it is a person or an animal: Spanish marks such objects."""
        return self.noun is None or self.noun.group in ("person", "animal")


@dataclass(frozen=True, slots=True)
class Time:
    """When: a fixed expression, an hour, a day, a month, or so long ago."""

    kind: Literal["fixed", "hour", "day", "month", "ago"]
    words: Words = ("", "", "")
    number: int = 0
    quarter: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where: a city, or a preposition with a phrase."""

    city: Words | None = None
    preposition: Words | None = None
    phrase: Phrase | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """Who does what to whom, when and where."""

    subject: Phrase
    verb: Verb
    tense: Tense
    object: Phrase | None = None
    negated: bool = False
    frequency: Words | None = None
    time: Time | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """A whole sentence.

    Attributes:
        kind: "because" joins two clauses; "that" puts the second into the mouth of the first's
            subject; "copula" and "comparison" say how something is.
        clause: the main clause; its verb is not used in "copula" and "comparison".
        second: the other clause.
        quality: the adjective of "copula" and "comparison".
        other: what is compared with.
    """

    kind: Kind
    clause: Clause
    second: Clause | None = None
    quality: Adjective | None = None
    other: Phrase | None = None


class Sampler:
    """Draws meanings; equal generators give equal ones.

    Args:
        lexicon: the words.
        words: uses only the first of each class, up to this share of them: a small world for
            short trainings.
    """

    def __init__(self, lexicon: Lexicon, words: float = 1.0) -> None:
        used = lexicon.first(words)
        self._nouns, self._adjectives = used.nouns, used.adjectives
        self._transitive, self._intransitive = used.transitive, used.intransitive
        self._saying = used.saying
        self._women, self._men = used.women, used.men
        self._fixed = used.fixed

    def sentence(self, rng: np.random.Generator) -> Sentence:
        """One meaning."""
        draw = rng.random()
        if draw < 0.10:
            subject = self._described(rng)
            clause = Clause(subject, self._intransitive[0], self._plain_tense(rng))
            return Sentence("copula", clause, quality=self._quality(subject, rng))
        if draw < 0.17:
            subject = self._described(rng)
            assert subject.noun is not None
            other = replace(self._described(rng, (subject.noun.group,)), adjective=None)
            clause = Clause(subject, self._intransitive[0], self._plain_tense(rng))
            return Sentence("comparison", clause, None, self._quality(subject, rng), other)
        if draw < 0.27:
            return Sentence("question", self._clause(rng, negation=False))
        if draw < 0.36:
            first, second = (self._clause(rng, short=True) for _ in range(2))
            return Sentence("because", first, second)
        if draw < 0.45:
            tense: Tense = _pick(("present", "past"), rng)
            told = Clause(self._person(rng), _pick(self._saying, rng), tense)
            return Sentence("that", told, self._clause(rng, short=True))
        return Sentence("statement", self._clause(rng))

    def _clause(
        self, rng: np.random.Generator, *, short: bool = False, negation: bool = True
    ) -> Clause:
        verb = _pick(self._transitive if rng.random() < 0.8 else self._intransitive, rng)
        tense: Tense = _pick(("present", "past", "past", "perfect", "future", "can", "must"), rng)
        target = self._thing(rng, verb.objects) if verb.objects else None
        negated = negation and tense != "must" and rng.random() < 0.1
        negated = negated and (target is None or _definite(target))  # German has "kein" for others
        often = tense == "present" and not negated and rng.random() < 0.4
        dated = not often and tense != "perfect" and rng.random() < (0.25 if short else 0.5)
        return Clause(
            subject=self._subject(rng),
            verb=verb,
            tense=tense,
            object=target,
            negated=negated,
            frequency=_pick(self._fixed["frequency"], rng) if often else None,
            time=self._time(tense, rng) if dated else None,
            place=self._place(rng) if rng.random() < (0.1 if short else 0.3) else None,
        )

    def _subject(self, rng: np.random.Generator) -> Phrase:
        draw = rng.random()
        if draw < 0.2:
            return Phrase(pronoun=_pick(NAMED, rng))
        if draw < 0.45:
            return self._named(rng)
        return self._thing(rng, ("person", "person", "person", "animal"))

    def _person(self, rng: np.random.Generator) -> Phrase:
        return self._named(rng) if rng.random() < 0.5 else self._thing(rng, ("person",))

    def _named(self, rng: np.random.Generator) -> Phrase:
        woman = bool(rng.random() < 0.5)
        return Phrase(name=_pick(self._women if woman else self._men, rng), woman=woman)

    def _described(self, rng: np.random.Generator, groups: Sequence[str] = ()) -> Phrase:
        """Something that can be said to be so and so: definite, without an adjective."""
        phrase = self._thing(rng, groups or GROUPS, names=False)
        determiner: Determiner = _pick(("the", "the", "this", "my", "our"), rng)
        return replace(phrase, determiner=determiner, number=1, adjective=None)

    def _thing(
        self, rng: np.random.Generator, groups: Sequence[str], *, names: bool = True
    ) -> Phrase:
        group = _pick(groups, rng)
        if names and group == "person" and rng.random() < 0.15:
            return self._named(rng)
        noun = _pick(self._nouns[group], rng)
        determiner: Determiner = _pick(("the", "the", "a", "this", "my", "our", "number"), rng)
        number = int(rng.integers(2, 100)) if determiner == "number" else 1
        if determiner == "number" and rng.random() < 0.6:
            number = int(rng.integers(2, 13))
        if number % 10 == 1 and number > 11:
            number += 1  # Spanish "veintiún" and "veintiuna": a gender in a number
        plural = determiner == "number" or (determiner != "a" and bool(rng.random() < 0.3))
        adjective = _pick(self._adjectives[group], rng) if rng.random() < 0.3 else None
        return Phrase(
            noun, determiner=determiner, number=number, plural=plural, adjective=adjective
        )

    def _quality(self, phrase: Phrase, rng: np.random.Generator) -> Adjective:
        assert phrase.noun is not None
        return _pick(self._adjectives[phrase.noun.group], rng)

    def _plain_tense(self, rng: np.random.Generator) -> Tense:
        return _pick(("present", "present", "past"), rng)

    def _place(self, rng: np.random.Generator) -> Place:
        if rng.random() < 0.5:
            return Place(city=_pick(self._fixed["cities"], rng))
        phrase = Phrase(_pick(self._nouns["place"], rng), determiner=_pick(("the", "our"), rng))
        return Place(preposition=_pick(self._fixed["prepositions"], rng), phrase=phrase)

    def _time(self, tense: Tense, rng: np.random.Generator) -> Time:
        draw = rng.random()
        if draw < 0.3:
            return Time("hour", number=int(rng.integers(1, 13)), quarter=int(rng.integers(4)))
        if draw < 0.5:
            return Time("day", _pick(self._fixed["days"], rng))
        if draw < 0.65:
            return Time("month", _pick(self._fixed["months"], rng))
        if tense == "past" and draw < 0.8:
            return Time("ago", _pick(self._fixed["ago_units"], rng), int(rng.integers(2, 13)))
        when = {"past": "past_times", "perfect": "past_times", "future": "future_times"}
        return Time("fixed", _pick(self._fixed[when.get(tense, "present_times")], rng))


def _definite(phrase: Phrase) -> bool:
    return phrase.noun is None or phrase.determiner not in ("a", "number")


def _pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]
