"""The words and their forms, from `lexicon.toml` (whose head says what a row holds)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from spire_dsu.config import Config, load_toml

T = TypeVar("T")

GROUPS = ("person", "animal", "food", "thing", "place")


class _Nouns(Config):
    person: list[str]
    animal: list[str]
    food: list[str]
    thing: list[str]
    place: list[str]


class _Verbs(Config):
    transitive: list[str]
    intransitive: list[str]
    saying: list[str]


class _Closed(Config):
    women: list[str]
    men: list[str]
    cities: list[str]
    days: list[str]
    months: list[str]
    past_times: list[str]
    future_times: list[str]
    present_times: list[str]
    ago_units: list[str]
    frequency: list[str]
    prepositions: list[str]


class NumberWords(Config):
    """The words of a language's numbers: the small ones, and the tens from zero."""

    small: list[str]
    tens: list[str]


class _File(Config):
    nouns: _Nouns
    verbs: _Verbs
    adjectives: _Nouns
    closed: _Closed
    numbers: dict[str, NumberWords]


@dataclass(frozen=True, slots=True)
class Noun:
    """English, German and Spanish singular and plural; gender m, f, n; its group."""

    group: str
    en: tuple[str, str]
    de_gender: str
    de: tuple[str, str]
    es_gender: str
    es: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verb:
    """Forms as the head of the file says; `objects` are the groups it takes, none: no object."""

    objects: tuple[str, ...]
    en: tuple[str, str, str, str]
    de: tuple[str, str, str, str]
    es: tuple[str, str, str, str, str]
    dative: bool


@dataclass(frozen=True, slots=True)
class Adjective:
    """Base and comparative of English and German, the masculine and the copula of Spanish."""

    en: tuple[str, str]
    de: tuple[str, str]
    es: str
    copula: str


Words = tuple[str, str, str]
"""One expression in English, German and Spanish."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All words: nouns and adjectives by group, expressions as `Words`, numbers by language."""

    nouns: dict[str, tuple[Noun, ...]]
    adjectives: dict[str, tuple[Adjective, ...]]
    transitive: tuple[Verb, ...]
    intransitive: tuple[Verb, ...]
    saying: tuple[Verb, ...]
    women: tuple[str, ...]
    men: tuple[str, ...]
    fixed: dict[str, tuple[Words, ...]]
    numbers: dict[str, NumberWords]

    def first(self, share: float) -> Lexicon:
        """The first words of each class, up to this share of it and at least two; all numbers."""

        def some(rows: Sequence[T]) -> tuple[T, ...]:
            return tuple(rows[: max(2, round(len(rows) * share))])

        return replace(
            self,
            nouns={group: some(rows) for group, rows in self.nouns.items()},
            adjectives={group: some(rows) for group, rows in self.adjectives.items()},
            transitive=some(self.transitive),
            intransitive=some(self.intransitive),
            saying=some(self.saying),
            women=some(self.women),
            men=some(self.men),
            fixed={name: some(rows) for name, rows in self.fixed.items()},
        )


@cache
def load_lexicon() -> Lexicon:
    """The lexicon of the package."""
    file = load_toml(Path(__file__).with_name("lexicon.toml"), _File)
    nouns = {group: getattr(file.nouns, group) for group in GROUPS}
    adjectives = {group: getattr(file.adjectives, group) for group in GROUPS}
    expressions = set(_Closed.model_fields) - {"women", "men"}
    return Lexicon(
        nouns={g: tuple(_noun(g, row) for row in rows) for g, rows in nouns.items()},
        adjectives={g: tuple(map(_adjective, rows)) for g, rows in adjectives.items()},
        transitive=tuple(_verb(row) for row in file.verbs.transitive),
        intransitive=tuple(_verb(row) for row in file.verbs.intransitive),
        saying=tuple(_verb(row) for row in file.verbs.saying),
        women=tuple(file.closed.women),
        men=tuple(file.closed.men),
        fixed={n: tuple(map(_words, getattr(file.closed, n))) for n in sorted(expressions)},
        numbers=file.numbers,
    )


def _forms(part: str) -> list[str]:
    return [form.replace("_", " ") for form in part.split()]


def _noun(group: str, row: str) -> Noun:
    en, de, es = (_forms(part) for part in row.split("|"))
    return Noun(group, (en[0], en[1]), de[0], (de[1], de[2]), es[0], (es[1], es[2]))


def _adjective(row: str) -> Adjective:
    en, de, es, copula = (_forms(part) for part in row.split("|"))
    return Adjective((en[0], en[1]), (de[0], de[1]), es[0], copula[0])


def _verb(row: str) -> Verb:
    groups, _, forms = row.rpartition(":")
    en, de, es = (_forms(part) for part in forms.split("|"))
    return Verb(
        tuple(groups.split()),
        (en[0], en[1], en[2], en[3]),
        (de[0], de[1], de[2], de[3]),
        (es[0], es[1], es[2], es[3], es[4]),
        "+dat" in en,
    )


def _words(row: str) -> Words:
    parts = [part.split() for part in row.split("|")] if "|" in row else [[p] for p in row.split()]
    en, de, es = (" ".join(part).replace("_", " ") for part in parts)
    return en, de, es
