"""Intervals and paired tests: by hand, against sacrebleu, and the laws they must keep."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sacrebleu.significance import PairedTest
from scored_texts import joined, references, spoil

from spire_dsu.config import validate
from spire_dsu.errors import ConfigError
from spire_evaluation.metrics import Metric, MetricConfig, measure
from spire_evaluation.metrics.error_rate import rate
from spire_evaluation.metrics.neural import mean
from spire_evaluation.significance import (
    Float64,
    Formula,
    Interval,
    Paired,
    Resampling,
    Test,
    by_block,
    draw,
    draw_sums,
    holm,
)
from spire_evaluation.significance import interval as interval_of
from spire_evaluation.significance import paired as compare_drawn

FEW = Resampling(draws=200)
LIBRARY = {
    "bleu": sacrebleu.BLEU,
    "chrf": sacrebleu.CHRF,
    "ter": lambda: sacrebleu.TER(asian_support=True),
}


def interval(counts: Float64, formula: Formula, resampling: Resampling) -> Interval:
    return interval_of(draw([counts], formula, resampling)[0], resampling)


def paired(
    first: Float64,
    second: Float64,
    formula: Formula,
    resampling: Resampling,
    *,
    higher_is_better: bool,
    test: Test,
) -> Paired:
    one, two = draw([first, second], formula, resampling)
    return compare_drawn(
        one, two, formula, resampling, higher_is_better=higher_is_better, test=test
    )


def wer_counts(rows: list[tuple[int, int]]) -> Float64:
    """Errors and words as the counts of WER."""
    return np.array([[errors, 0, 0, words] for errors, words in rows], dtype=np.float64)


def test_two_utterances_worked_by_hand() -> None:
    # Four draws, equally likely: both the first (1/1), one each (1/4, twice), both the second (0).
    counts = wer_counts([(1, 1), (0, 3)])
    drawn = rate(draw_sums(counts, Resampling(draws=40_000)))
    values, times = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0, 0.25, 1]
    np.testing.assert_allclose(times / 40_000, [0.25, 0.5, 0.25], atol=0.01)  # 4 sigma
    found = interval(counts, rate, Resampling(draws=40_000))
    assert (found.low, found.high, found.units) == (0, 1, 2)
    sigma = np.sqrt(0.25 * 0 + 0.5 * 0.25**2 + 0.25 - 0.375**2)
    assert found.standard_error == pytest.approx(sigma, abs=0.005)


def test_improvement_worked_by_hand() -> None:
    # Second less first, per utterance: -1, 0, +1 of 1 word each. Of the 27 draws of three, 10 have
    # more of the first than of the last, 7 as many.
    first, second = wer_counts([(1, 1), (1, 1), (0, 1)]), wer_counts([(0, 1), (1, 1), (1, 1)])
    found = paired(
        first, second, rate, Resampling(draws=40_000), higher_is_better=False, test="bootstrap"
    )
    assert found.difference == 0
    assert found.probability_of_improvement == pytest.approx(10 / 27, abs=0.01)
    assert found.ties == pytest.approx(7 / 27, abs=0.01)
    assert found.p_value == 1  # no difference at all is as extreme as any draw


def test_order_statistics_are_cut_as_sacrebleu_cuts_them() -> None:
    counts = np.stack([np.arange(50.0), np.ones(50)], axis=1)
    drawn = np.sort(mean(draw_sums(counts, FEW)))
    found = interval(counts, mean, FEW)
    assert (found.low, found.high) == (drawn[200 // 40], drawn[200 - 200 // 40 - 1])


def test_holm_worked_by_hand() -> None:
    # .005 x 4, .01 x 3, .03 x 2, and .04 x 1 which may not fall below its predecessor.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_is_never_under_what_it_corrects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(
        p <= a <= min(1, p * len(p_values)) + 1e-12 for p, a in zip(p_values, adjusted, strict=True)
    )
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


@pytest.fixture(scope="module")
def systems() -> tuple[list[str], list[str], list[str]]:
    texts = references(120)
    return texts, spoil(texts, 0.10, 1), spoil(texts, 0.12, 2)


@pytest.mark.parametrize("seed", [12345, 7])
@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_draws_and_p_values_are_sacrebleu_s(
    metric: Metric,
    seed: int,
    systems: tuple[list[str], list[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, one, two = systems
    monkeypatch.setenv("SACREBLEU_SEED", str(seed))
    library = LIBRARY[metric]
    resampling = Resampling(draws=200, seed=seed)
    first = measure(metric, joined(texts, one), MetricConfig())
    second = measure(metric, joined(texts, two), MetricConfig())

    alone = library().corpus_score(one, [texts], n_bootstrap=200)
    found = interval(first.counts, first.formula, resampling)
    assert (found.high - found.low) / 2 == pytest.approx(alone._ci, rel=1e-4)  # its sums: float32

    for test, kind in (("sacrebleu-bootstrap", "bs"), ("randomization", "ar")):
        pair = PairedTest([("1", one), ("2", two)], {"m": library()}, [texts], kind, n_samples=200)
        _, scores = pair()
        wanted = next(value for name, value in scores.items() if name != "System")[1].p_value
        ours = paired(
            first.counts,
            second.counts,
            first.formula,
            resampling,
            higher_is_better=first.higher_is_better,
            test=test,  # type: ignore[arg-type]
        )
        assert 0.005 < wanted < 1
        assert ours.p_value == pytest.approx(wanted, abs=1e-12)


def test_seed_nought_is_a_seed() -> None:
    counts = wer_counts([(i % 3, 4) for i in range(30)])
    nought = Resampling(seed=0, draws=100)
    assert interval(counts, rate, nought) == interval(counts, rate, nought)
    assert interval(counts, rate, nought) != interval(counts, rate, Resampling(draws=100))


@pytest.mark.parametrize("rows", [3, 1000, 70_000])
def test_draws_do_not_depend_on_how_many_fit_in_memory(rows: int) -> None:
    counts = np.random.default_rng(1).integers(0, 9, size=(rows, 2)).astype(np.float64)
    index = np.random.default_rng(5).choice(rows, size=(64, rows), replace=True)
    wanted = counts[index].sum(1)
    assert (draw_sums(counts, Resampling(seed=5, draws=64)) == wanted).all()


COUNTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12
)


@given(COUNTS, st.sampled_from(["bootstrap", "sacrebleu-bootstrap", "randomization"]))
@examples(max_examples=40)
def test_a_comparison_turned_round_says_the_same(
    rows: list[tuple[int, int, int]], test: Test
) -> None:
    first = wer_counts([(a, words) for a, _, words in rows])
    second = wer_counts([(b, words) for _, b, words in rows])
    there = paired(first, second, rate, FEW, higher_is_better=False, test=test)
    back = paired(second, first, rate, FEW, higher_is_better=False, test=test)
    assert back.difference == -there.difference
    assert (back.interval.low, back.interval.high) == (-there.interval.high, -there.interval.low)
    assert back.p_value == there.p_value
    assert back.probability_of_improvement == pytest.approx(
        1 - there.probability_of_improvement - there.ties
    )
    assert 0 < there.p_value <= 1
    upside_down = paired(first, second, rate, FEW, higher_is_better=True, test=test)
    assert upside_down.probability_of_improvement == back.probability_of_improvement


def test_systems_drawn_together_are_those_drawn_alone() -> None:
    many = [wer_counts([((i * k) % 7, 4 + i % 5) for i in range(50)]) for k in (1, 2, 3)]
    for counts, drawn in zip(many, draw(many, rate, FEW), strict=True):
        (alone,) = draw([counts], rate, FEW)
        assert (alone.scores_R == drawn.scores_R).all()
        assert alone.score == drawn.score == rate(counts.sum(0)[None])[0]


@given(COUNTS)
@examples(max_examples=40)
def test_an_interval_holds_what_was_drawn(rows: list[tuple[int, int, int]]) -> None:
    counts = wer_counts([(a, words) for a, _, words in rows])
    drawn = draw_sums(counts, FEW)
    rates = counts[:, 0] / counts[:, 3]
    found = interval(counts, rate, FEW)
    assert rates.min() - 1e-12 <= found.low <= found.high <= rates.max() + 1e-12
    wider = interval(counts, rate, Resampling(draws=200, level=0.99))
    assert wider.low <= found.low <= found.high <= wider.high
    assert drawn.shape == (200, 4)


@pytest.mark.parametrize("test", ["bootstrap", "sacrebleu-bootstrap", "randomization"])
def test_a_system_is_no_better_than_itself(test: Test) -> None:
    counts = wer_counts([(i % 3, 4) for i in range(30)])
    found = paired(counts, counts.copy(), rate, FEW, higher_is_better=False, test=test)
    assert (found.difference, found.ties, found.p_value) == (0, 1, 1)
    assert found.probability_of_improvement == 0


def test_blocks_are_summed_in_the_order_of_their_first_row() -> None:
    counts = wer_counts([(1, 2), (3, 4), (5, 6)])
    assert by_block(counts, ["z", "a", "z"]).tolist() == [[6, 0, 0, 8], [3, 0, 0, 4]]
    # A speaker each: the block bootstrap is the plain one.
    assert interval(by_block(counts, ["c", "b", "a"]), rate, FEW) == interval(counts, rate, FEW)


def test_speakers_who_differ_widen_the_interval() -> None:
    # 20 speakers, 30 utterances each; the speaker alone decides how many errors there are.
    counts = wer_counts([(speaker % 5, 10) for speaker in range(20) for _ in range(30)])
    blocks = by_block(counts, [str(s) for s in range(20) for _ in range(30)])
    plain = interval(counts, rate, Resampling(draws=2000))
    spoken = interval(blocks, rate, Resampling(draws=2000))
    ratio = spoken.standard_error / plain.standard_error
    assert ratio == pytest.approx(np.sqrt(30), rel=0.1)  # 20 observations in truth, not 600
    assert spoken.units == 20


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # 200 test sets of 100 utterances from a known source: the rate is 1/10.
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        words = rng.integers(5, 30, size=100)
        errors = rng.binomial(words, 0.1)
        counts = wer_counts(list(zip(errors.tolist(), words.tolist(), strict=True)))
        found = interval(counts, rate, Resampling(draws=400, level=0.9))
        hits += found.low <= 0.1 <= found.high
    assert 0.83 < hits / 200 < 0.96  # 3 sigma around 0.9


@pytest.mark.parametrize(
    "values", [{"seed": -1}, {"draws": 10}, {"level": 1.0}, {"seed": "7"}, {"samples": 100}]
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        validate(values, Resampling, "options")
