"""WER and CER: worked by hand, equal to jiwer, normalised as Whisper does."""

from __future__ import annotations

import jiwer
import pytest
import whisper_normalizer.basic
import whisper_normalizer.english
from hypothesis import given
from hypothesis import strategies as st
from scored_texts import joined, references, spoil

from spire_dsu.errors import InputError
from spire_evaluation.metrics import MetricConfig, measure
from spire_evaluation.metrics.base import primary
from spire_evaluation.metrics.error_rate import rate
from spire_evaluation.metrics.normalize import cleaner

PLAIN = MetricConfig(normalizer="none")
HARD = [
    "Mr. Smith's colour isn't grey, he's gonna pay $20.50 for twenty-three apples.",
    "I've won't can't let's 1,000,000 people in nineteen ninety nine",
    "uh, um, hmm mhm the [laughter] (noise) <unk> 3rd of May 2020",
    "double oh seven and one hundred and one point five percent",
    "it'll've gotta wanna y'all ma'am st. dr. prof. capt.",
    "eighteen fifties 60s the 1960's, minus five plus two thousand and twelve",
    "three and a half, $1.5 billion £3 10¢ 5% per cent; naïve café",
    "okay, OK a.m. p.m. U.S.A. e.g.",
    "",
]


def test_word_errors_worked_by_hand() -> None:
    # sat -> sit (S) and "the" (D); over (I); two words for nothing (I, I); three lost (D, D, D).
    texts = ["the cat sat on the mat", "hello there", "", "good old morning"]
    answers = ["the cat sit on mat", "hello over there", "well hello", ""]
    found = measure("wer", joined(texts, answers), PLAIN)
    assert found.counts.tolist() == [[1, 1, 0, 6], [0, 0, 1, 2], [0, 0, 2, 0], [0, 3, 0, 3]]
    assert found.score == (2 + 1 + 2 + 3) / 11
    assert found.facts["hypothesis_length"] == 5 + 3 + 2 + 0
    assert not found.higher_is_better


def test_character_errors_worked_by_hand() -> None:
    # abcd -> abxd (S); "a b" -> "ab" (D of the space)
    found = measure("cer", joined(["abcd", "a b"], ["abxd", "ab"]), PLAIN)
    assert found.counts.tolist() == [[1, 0, 0, 4], [0, 1, 0, 3]]
    assert found.score == 2 / 7


def test_chinese_characters_are_counted_without_spaces() -> None:
    texts, answers = ["你好 世界。", "天气"], ["你好世界", "天汽 很"]
    chinese = measure("cer", joined(texts, answers), MetricConfig(lang="cmn"))
    assert chinese.counts.tolist() == [[0, 0, 0, 4], [1, 0, 1, 2]]
    assert "spaces:no" in chinese.signature
    # Whisper's rule: words of a language without spaces are its characters.
    words = measure("wer", joined(texts, answers), MetricConfig(lang="zh"))
    assert words.score == chinese.score
    assert "norm:whisper-split" in words.signature


def test_the_paper_s_normalisation_is_the_default() -> None:
    found = measure(
        "wer",
        joined(["Mr. Smith's colour isn't GREY."], ["mister smith is color is not gray uh"]),
        MetricConfig(),
    )
    assert found.score == 0
    assert found.signature.startswith("wer|lang:en|norm:whisper-english|spellings:6607f948be98|")


def test_texts_that_normalisation_empties_are_counted() -> None:
    found = measure("wer", joined(["uh", "yes"], ["no", "[noise]"]), MetricConfig())
    assert found.facts["empty_references_after_normalization"] == 1
    assert found.facts["empty_hypotheses_after_normalization"] == 1
    assert found.counts.tolist() == [[0, 0, 1, 0], [0, 1, 0, 1]]
    with pytest.raises(InputError, match="none of the 1 references has a word"):
        measure("wer", joined(["uh"], ["no"]), MetricConfig())


@pytest.mark.parametrize("text", HARD)
def test_whisper_s_normalisers_are_those_of_the_paper_s_package(text: str) -> None:
    english = whisper_normalizer.english.EnglishTextNormalizer()
    basic = whisper_normalizer.basic.BasicTextNormalizer()
    assert cleaner("whisper-english")(text) == " ".join(english(text).split())
    assert cleaner("whisper-basic")(text) == " ".join(basic(text).split())


@pytest.mark.parametrize("lang", ["de", "zho_Hans", "en"])
def test_the_language_of_the_references_chooses_the_normaliser(lang: str) -> None:
    wanted = {"de": "basic", "zho_Hans": "split", "en": "english"}[lang]
    found = measure("cer", joined(["ja"], ["ja"]), MetricConfig(lang=lang))
    assert f"lang:{primary(lang)}|norm:whisper-{wanted}" in found.signature


WORDS = st.lists(st.sampled_from(["a", "bb", "c", "dd"]), max_size=6).map(" ".join)


@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6).filter(lambda p: any(r for r, _ in p))
)
def test_rates_are_jiwer_s(pairs: list[tuple[str, str]]) -> None:
    texts, answers = [r for r, _ in pairs], [h for _, h in pairs]
    both = joined(texts, answers)
    words, characters = measure("wer", both, PLAIN), measure("cer", both, PLAIN)
    assert words.score == pytest.approx(jiwer.wer(texts, answers), abs=1e-15)
    assert characters.score == pytest.approx(jiwer.cer(texts, answers), abs=1e-15)
    by_jiwer = jiwer.process_words(texts, answers)
    assert words.counts.sum(0).tolist()[:3] == [
        by_jiwer.substitutions,
        by_jiwer.deletions,
        by_jiwer.insertions,
    ]
    for row, (text, answer) in zip(words.counts, pairs, strict=True):
        # What is aligned accounts for every word of both sides.
        assert row[3] == len(text.split())
        assert row[3] - row[1] + row[2] == len(answer.split())
        assert rate(row[None])[0] == pytest.approx(jiwer.wer(text, answer))


def test_a_worse_system_has_more_errors() -> None:
    texts = references(200)
    rates = [
        measure("wer", joined(texts, spoil(texts, r, 1)), PLAIN).score for r in (0.02, 0.1, 0.3)
    ]
    assert 0 < rates[0] < rates[1] < rates[2]
