"""NER sequence F1: tower-eval's definition worked by hand, and what a shift costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spire_dsu.errors import InputError
from spire_evaluation.metrics import ENTITY_TYPES, MetricConfig, measure
from spire_evaluation.metrics.entities import align, chunks, fit, parse_tuples
from spire_evaluation.segments import Joined, Segment

TOKENS = ("Anna", "Smith", "lives", "in", "Paris")
TAGS = ("B-Person", "I-Person", "O", "O", "B-Location")
TYPES = frozenset(ENTITY_TYPES)


def answer(*pairs: tuple[str, str]) -> str:
    return "[" + ", ".join(f'("{token}", "{tag}")' for token, tag in pairs) + "]"


def one(text: str, tags: tuple[str, ...] = TAGS, tokens: tuple[str, ...] | None = TOKENS) -> Joined:
    return Joined((Segment("0", "", tokens=tokens, tags=tags),), (text,))


def test_a_dropped_word_shifts_what_follows() -> None:
    text = answer(*((t, g) for t, g in zip(TOKENS, TAGS, strict=True) if t != "lives"))
    found = measure("ner", one(text), MetricConfig())
    # B-Person I-Person O B-Location, padded: the location stands on "in", the person is right.
    assert found.counts.tolist() == [[1, 2, 2]]
    assert found.score == 50
    assert found.facts["aligned_f1"] == 100
    assert found.facts["length_loss"] == 50
    assert found.facts["wrong_length"] == 1
    assert found.facts["f1_by_type"] == {
        "Person": 100.0, "Location": 0.0, "Group": 0.0, "Product": 0.0, "CreativeWorks": 0.0,
        "Medical": 0.0,
    }  # fmt: skip


def test_a_doubled_word_is_cut_off_at_the_end() -> None:
    doubled = (TOKENS[0], *TOKENS), (TAGS[0], *TAGS)
    found = measure("ner", one(answer(*zip(*doubled, strict=True))), MetricConfig())
    # B-Person B-Person I-Person O O: two persons, neither of them the right two words.
    assert found.counts.tolist() == [[0, 2, 2]]
    assert found.facts["aligned_f1"] == 100


def test_micro_f1_sums_over_sentences_which_do_not_run_into_each_other() -> None:
    first = Segment("0", "", tags=("O", "B-Person"))
    second = Segment("1", "", tags=("I-Person", "O"))  # an I that opens: an entity of its own
    both = Joined((first, second), (answer(("a", "O"), ("b", "B-Person")), answer(("c", "O"))))
    found = measure("ner", both, MetricConfig())
    assert found.counts.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert found.score == pytest.approx(100 * 2 * 1 / (1 + 2))
    assert "aligned_f1" not in found.facts  # the references do not say their words


def test_a_reference_may_be_tower_eval_s_own_text() -> None:
    gold = Segment("0", answer(*zip(TOKENS, TAGS, strict=True)))
    found = measure("ner", Joined((gold,), (gold.text,)), MetricConfig())
    assert (found.score, found.facts["aligned_f1"], found.facts["length_loss"]) == (100, 100, 0)


def test_an_answer_that_cannot_be_read_is_all_outside() -> None:
    for text in ("", "Anna Smith is a person.", "[('Anna', 'B-Person')]"):
        found = measure("ner", one(text), MetricConfig())
        assert found.counts.tolist() == [[0, 0, 2]]
        assert found.score == 0
        assert found.facts["unreadable"] == 1


def test_no_entity_anywhere_scores_nothing() -> None:
    assert measure("ner", one("", tags=("O",) * 5), MetricConfig()).score == 0


def test_a_reference_without_tags_is_named() -> None:
    with pytest.raises(InputError, match="reference '0' has neither tags nor a list of tuples"):
        measure("ner", Joined((Segment("0", "Anna"),), ("x",)), MetricConfig())


@pytest.mark.parametrize("tag", ["B-Animal", "Person", "B_Person", "BPerson", "b", "", "B-", "O"])
def test_a_tag_of_no_known_type_is_outside(tag: str) -> None:
    assert parse_tuples(f'("x", "{tag}")', TYPES).tags == ("O",)


def test_tuples_are_found_where_tower_eval_s_expression_finds_them() -> None:
    text = 'So: [("say "hi"", "B-Person"), ("06", "O"),("no space", "O"), ("x","B-Group")] done'
    tagged = parse_tuples(text, TYPES)
    assert tagged.tokens == ('say "hi"', "06", "no space")
    assert tagged.tags == ("B-Person", "O", "O")


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("O B-Person I-Person O", {(1, 3, "Person")}),
        ("I-Person I-Person", {(0, 2, "Person")}),
        ("B-Person B-Person", {(0, 1, "Person"), (1, 2, "Person")}),
        ("B-Person I-Group I-Group", {(0, 1, "Person"), (1, 3, "Group")}),
        ("B-Person O I-Person", {(0, 1, "Person"), (2, 3, "Person")}),
        ("S-Person I-Person", {(0, 1, "Person"), (1, 2, "Person")}),
        ("B-Person E-Person I-Person", {(0, 2, "Person"), (2, 3, "Person")}),
        ("O O", set()),
        ("", set()),
    ],
)
def test_entities_are_those_of_conlleval(tags: str, wanted: set[tuple[int, int, str]]) -> None:
    assert chunks(tags.split()) == wanted


TAG = st.sampled_from(["O", "B-Person", "I-Person", "B-Group", "I-Group"])


@given(st.lists(TAG, max_size=8))
def test_entities_cover_all_that_is_not_outside_once(tags: list[str]) -> None:
    covered = [place for start, end, _ in chunks(tags) for place in range(start, end)]
    assert sorted(covered) == [place for place, tag in enumerate(tags) if tag != "O"]
    for start, end, kind in chunks(tags):
        assert {tag[2:] for tag in tags[start:end]} == {kind}


@given(st.lists(TAG, min_size=1, max_size=8), st.integers(0, 12))
def test_answers_are_brought_to_the_length_of_the_reference(tags: list[str], length: int) -> None:
    fitted = fit(tags, length)
    assert len(fitted) == length
    assert list(fitted[: len(tags)]) == tags[:length]
    assert set(fitted[len(tags) :]) <= {"O"}


@given(st.data())
def test_alignment_undoes_what_was_dropped(data: st.DataObject) -> None:
    tags = data.draw(st.lists(TAG, min_size=1, max_size=8))
    keep = data.draw(st.lists(st.booleans(), min_size=len(tags), max_size=len(tags)))
    tokens = [f"w{place}" for place in range(len(tags))]  # all different: one best alignment
    kept = [(w, t) for w, t, k in zip(tokens, tags, keep, strict=True) if k]
    tagged = parse_tuples(answer(*kept), TYPES)
    wanted = tuple(tag if k else "O" for tag, k in zip(tags, keep, strict=True))
    assert align(tokens, tagged) == wanted
