"""The grammar: agreement, case and order in three languages; the size of its world."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from spire_training.mini.grammar import English, German, Sampler, Spanish, load_lexicon
from spire_training.mini.grammar.lexicon import Adjective, Noun, Verb
from spire_training.mini.grammar.meaning import Clause, Phrase, Place, Sentence, Time

LEXICON = load_lexicon()
LANGUAGES = (English(), German(), Spanish())


def noun(english: str) -> Noun:
    return next(n for rows in LEXICON.nouns.values() for n in rows if n.en[0] == english)


def adjective(english: str) -> Adjective:
    rows = (row for group in LEXICON.adjectives.values() for row in group)
    return next(row for row in rows if row.en[0] == english)


def verb(english: str) -> Verb:
    rows = (*LEXICON.transitive, *LEXICON.intransitive, *LEXICON.saying)
    return next(row for row in rows if row.en[0] == english)


def written(sentence: Sentence) -> list[str]:
    return [language.write(sentence) for language in LANGUAGES]


ANNA = Phrase(name="Anna", woman=True)
SON = Phrase(noun("son"))


def test_case_and_gender_show_in_articles_and_adjectives() -> None:
    old = replace(SON, determiner="my", adjective=adjective("old"))
    seen = Clause(old, verb("see"), "past", replace(old, determiner="a"))
    helped = replace(seen, verb=verb("help"))
    assert written(Sentence("statement", seen)) == [
        "My old son saw an old son.",
        "Mein alter Sohn sah einen alten Sohn.",
        "Mi hijo viejo vio a un hijo viejo.",
    ]
    assert German().write(Sentence("statement", helped)) == "Mein alter Sohn half einem alten Sohn."


def test_plurals_agree_with_their_verbs() -> None:
    women = Phrase(noun("woman"), determiner="number", number=32, plural=True)
    flowers = Phrase(noun("flower"), plural=True, adjective=adjective("expensive"))
    assert written(Sentence("statement", Clause(women, verb("buy"), "past", flowers))) == [
        "Thirty-two women bought the expensive flowers.",
        "Zweiunddreißig Frauen kauften die teuren Blumen.",
        "Treinta y dos mujeres compraron las flores caras.",
    ]
    aunts = Clause(replace(women, noun=noun("cat")), verb("help"), "present", replace(women))
    assert German().write(Sentence("statement", aunts)).endswith("helfen zweiunddreißig Frauen.")


def test_the_german_verb_goes_to_the_end_where_it_must() -> None:
    why = Clause(ANNA, verb("buy"), "perfect", Phrase(noun("book")))
    rests = Clause(SON, verb("rest"), "future", time=Time("day", ("Monday", "Montag", "lunes")))
    assert written(Sentence("because", rests, why)) == [
        "The son will rest on Monday because Anna has bought the book.",
        "Der Sohn wird am Montag ruhen, weil Anna das Buch gekauft hat.",
        "El hijo descansará el lunes porque Anna ha comprado el libro.",
    ]


def test_questions() -> None:
    asked = Clause(ANNA, verb("find"), "past", Phrase(noun("key"), determiner="our"))
    assert written(Sentence("question", asked)) == [
        "Did Anna find our key?",
        "Fand Anna unseren Schlüssel?",
        "¿Encontró Anna nuestra llave?",
    ]


def test_negation_and_places() -> None:
    at = Place(preposition=("near", "neben", "cerca de"), phrase=Phrase(noun("river")))
    clause = Clause(ANNA, verb("sleep"), "can", negated=True, place=at)
    assert written(Sentence("statement", clause)) == [
        "Anna cannot sleep near the river.",
        "Anna kann nicht neben dem Fluss schlafen.",
        "Anna no puede dormir cerca del río.",
    ]


@pytest.mark.parametrize(
    ("number", "quarter", "expected"),
    [
        (3, 0, ["at three o'clock", "um drei Uhr", "a las tres"]),
        (1, 0, ["at one o'clock", "um ein Uhr", "a la una"]),
        (12, 2, ["at half past twelve", "um halb eins", "a las doce y media"]),
        (12, 3, ["at a quarter to one", "um Viertel vor eins", "a la una menos cuarto"]),
        (1, 1, ["at a quarter past one", "um Viertel nach eins", "a la una y cuarto"]),
    ],
)
def test_the_time_of_day(number: int, quarter: int, expected: list[str]) -> None:
    clause = Clause(ANNA, verb("work"), "past", time=Time("hour", number=number, quarter=quarter))
    for text, ending in zip(written(Sentence("statement", clause)), expected, strict=True):
        assert text.endswith(f" {ending}.")


def test_qualities_and_comparisons() -> None:
    flower, tree = Phrase(noun("flower"), plural=True), Phrase(noun("tree"), determiner="this")
    clause = Clause(flower, verb("rest"), "past")
    assert written(Sentence("copula", clause, quality=adjective("wet"))) == [
        "The flowers were wet.",
        "Die Blumen waren nass.",
        "Las flores estaban mojadas.",
    ]
    compared = Sentence("comparison", clause, quality=adjective("heavy"), other=tree)
    assert written(compared) == [
        "The flowers were heavier than this tree.",
        "Die Blumen waren schwerer als dieser Baum.",
        "Las flores eran más pesadas que este árbol.",
    ]


def test_the_world_is_large_and_its_sentences_well_formed() -> None:
    sampler, rng = Sampler(LEXICON), np.random.default_rng()
    texts = [written(sampler.sentence(rng)) for _ in range(30_000)]
    assert len({text[0] for text in texts}) > 28_500
    forms = {(i, w) for text in texts for i in range(3) for w in re.findall(r"[\w'-]+", text[i])}
    assert len(forms) > 3_000
    for text in texts:
        for one in text:
            assert re.fullmatch(r"¿?[A-ZÄÖÜÁÉÍÓÚ][\w' ,-]+[.?]", one), one
            assert "  " not in one
            assert "None" not in one


def test_equal_seeds_give_equal_sentences() -> None:
    first, second = ([written(Sampler(LEXICON).sentence(np.random.default_rng(7)))] for _ in "ab")
    assert first == second


def test_a_share_of_the_words_is_a_smaller_world() -> None:
    rng = np.random.default_rng()
    small, full = (
        {w for _ in range(2_000) for w in English().write(sampler.sentence(rng)).lower().split()}
        for sampler in (Sampler(LEXICON, 0.1), Sampler(LEXICON))
    )
    assert len(small) < len(full) / 3


def test_every_row_has_all_of_its_forms() -> None:
    for rows in LEXICON.nouns.values():
        for row in rows:
            assert row.de_gender in "mfn"
            assert row.es_gender in "mf"
    for action in (*LEXICON.transitive, *LEXICON.intransitive, *LEXICON.saying):
        assert action.es[0][-2:] in ("ar", "er", "ir"), action
    assert all(a.copula in ("ser", "estar") for rows in LEXICON.adjectives.values() for a in rows)
