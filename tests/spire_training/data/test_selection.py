"""Each rule of the selection, alone."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spire_training.data import selection


@pytest.mark.parametrize(
    ("tagged", "expected"),
    [
        ("SEE YOU SOON <COMMA> SHE SAID <PERIOD>", "see you soon, she said."),
        ("REALLY <QUESTIONMARK> YES <EXCLAMATIONPOINT>", "really? yes!"),
        ("<COMMA> AND THEN", "and then"),
        ("  MANY   SPACES ", "many spaces"),
        ("<SIL>", None),
        ("HELLO <NOISE> WORLD", None),
        ("<MUSIC>", None),
        ("<OTHER>", None),
        ("<PERIOD>", None),
        ("", None),
        ("QUESTIONMARK> IS A TYPO", "questionmark> is a typo"),
    ],
)
def test_gigaspeech_text(tagged: str, expected: str | None) -> None:
    assert selection.gigaspeech_text(tagged) == expected


@given(st.lists(st.sampled_from([*selection.PUNCTUATION, "WORD", "A"]), max_size=12))
def test_gigaspeech_text_has_no_tags_and_no_capitals(words: list[str]) -> None:
    text = selection.gigaspeech_text(" ".join(words))
    if any(word in ("WORD", "A") for word in words):
        assert text is not None
        assert "<" not in text
        assert text == text.lower()
        assert len(text.split()) == sum(word in ("WORD", "A") for word in words)
    else:
        assert text is None


def test_long_enough() -> None:
    assert selection.long_enough(3.0, 3.0)
    assert not selection.long_enough(2.9999, 3.0)


def chosen(rows: list[tuple[str, str]], limit: int, seed: int = 0) -> set[tuple[str, str]]:
    cap = selection.cap((selection.speaker_pair(seed, *row) for row in rows), limit)
    return {row for row in rows if cap.takes(*selection.speaker_pair(seed, *row))}


def test_at_most_13_transcripts_per_speaker() -> None:
    rows = [(f"s{n % 9}", f"u{n}") for n in range(9 * 20)] + [("rare", f"r{n}") for n in range(5)]
    taken = chosen(rows, 13)
    counts = Counter(speaker for speaker, _ in taken)
    assert counts == {**{f"s{n}": 13 for n in range(9)}, "rare": 5}


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30).map(str)), max_size=60),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_a_cap_depends_on_the_rows_not_on_their_order(
    rows: list[tuple[str, str]], limit: int, shuffler: random.Random
) -> None:
    taken = chosen(rows, limit)
    shuffled = rows[:]
    shuffler.shuffle(shuffled)
    assert chosen(shuffled, limit) == taken
    members = defaultdict(set)
    for speaker, utterance in rows:
        members[speaker].add(utterance)
    kept = Counter(speaker for speaker, _ in taken)
    assert kept == {s: min(limit, len(all_of)) for s, all_of in members.items()}


def test_the_seed_chooses() -> None:
    rows = [("s", f"u{n}") for n in range(100)]
    choices = [frozenset(chosen(rows, 13, seed)) for seed in range(20)]
    assert len(set(choices)) == 20
    often = Counter(row for choice in choices for row in choice)
    assert len(often) > 85  # of 100, with 260 draws: every row can be chosen


def test_at_most_4_speakers_per_transcript() -> None:
    rows = [("Hello  there", f"s{n}") for n in range(9)] + [("hello there", "s3")] * 3
    rows += [("another one", f"s{n}") for n in range(3)]
    pairs = [selection.transcript_pair(0, *row) for row in rows]
    cap = selection.cap(pairs, 4)
    taken = [row for row, pair in zip(rows, pairs, strict=True) if cap.takes(*pair)]
    speakers = defaultdict(set)
    for text, speaker in taken:
        speakers[" ".join(text.lower().split())].add(speaker)
    assert {text: len(found) for text, found in speakers.items()} == {
        "hello there": 4,
        "another one": 3,
    }
    # All recordings of a speaker that is taken are taken.
    assert (("hello there", "s3") in taken) == (("Hello  there", "s3") in taken)


SENTENCES = [
    "The quick brown fox jumps over the lazy dog, he said.",
    "\u201cWe now have 4-month-old mice that are non-diabetic,\u201d he added.",
    "Short one.",
]


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (SENTENCES[0], True),
        ("the quick brown fox jumps over the lazy dog he said", True),
        ('"We now have 4 month old mice that are non diabetic", he added', True),
        ("The quick brwn fox jumps over the lazy dog he sad", True),  # two letters
        ("The quick brwn fox jmps over the lzy dog he sad", False),  # four
        ("A sentence that is nowhere near.", False),
        ("short one", True),
        ("", False),
    ],
)
def test_sentences_of_the_test_set(text: str, held: bool) -> None:
    assert selection.Sentences(SENTENCES).holds(text) is held


def test_sentences_are_counted_once() -> None:
    assert len(selection.Sentences([*SENTENCES, "short ONE!", "", " . "])) == 3
