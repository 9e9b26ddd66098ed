"""Confidence intervals and paired tests by resampling, for every metric in the same way.

Each metric here is a function of sums over segments: errors and words for WER, n-gram counts for
BLEU. So a resampled test set is a row of weights times a table of counts, and 10,000 of them are
one matrix product. All systems of a comparison share the same draws.

Sources: Bisani & Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance
evaluation" (bootstrap by utterance, probability of improvement); Liu & Peng 2020, arXiv 1912.09508
(blocks of utterances of one speaker); Koehn 2004 and sacrebleu (paired bootstrap for BLEU);
Riezler & Maxwell 2005 and sacrebleu (approximate randomisation); Holm 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spire_dsu.config import Config

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Formula = Callable[[Float64], Float64]
"""Sums over segments [R, M] -> scores [R]."""

_WEIGHTS = 1 << 21  # weights in memory at once: they stay in the cache, and memory stays flat


class Resampling(Config):
    """How intervals and tests are drawn.

    Attributes:
        seed: of numpy's PCG64. Unlike in sacrebleu, 0 is a seed like any other.
        draws: resampled test sets (and trials of approximate randomisation).
        level: coverage of the intervals.
    """

    seed: int = Field(default=12345, ge=0)
    draws: int = Field(default=10_000, ge=40, le=1_000_000)
    level: float = Field(default=0.95, gt=0, lt=1)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A system under the draws of a comparison.

    Attributes:
        counts_NM: what each segment (or block) adds to the sums.
        score: on the test set itself.
        scores_R: on the resampled ones.
    """

    counts_NM: Float64  # noqa: N815 (shape suffix)
    score: float
    scores_R: Float64  # noqa: N815 (shape suffix)


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval: the order statistics that cut (1 - level) / 2 of the draws per side.

    Attributes:
        low, high: in the metric's unit.
        standard_error: standard deviation over the draws.
        units: how many segments or blocks were resampled.
    """

    low: float
    high: float
    standard_error: float
    units: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Two systems on one test set, under the same draws; differences are second minus first.

    Attributes:
        difference: of the scores on the test set itself.
        interval: of that difference.
        probability_of_improvement: share of the draws in which the second system is strictly
            better (Bisani & Ney); equal draws are no improvement.
        ties: share of the draws in which the two are equal.
        p_value: two-sided.
    """

    difference: float
    interval: Interval
    probability_of_improvement: float
    ties: float
    p_value: float


Test = Literal["bootstrap", "sacrebleu-bootstrap", "randomization"]


def by_block(counts_NM: Float64, blocks: Sequence[str]) -> Float64:
    """Sums of the rows of each block [B, M], blocks in the order of their first row."""
    order: dict[str, int] = {}
    index_N = np.array([order.setdefault(block, len(order)) for block in blocks], dtype=np.int64)
    sums_BM = np.zeros((len(order), counts_NM.shape[1]))
    np.add.at(sums_BM, index_N, counts_NM)
    return sums_BM


def draw_sums(counts_NM: Float64, resampling: Resampling) -> Float64:
    """Sums over resampled test sets [R, M]: N of the N rows each, with replacement.

    The rows drawn are those of `default_rng(seed).choice(N, size=(R, N))`, which are sacrebleu's.
    Counts are whole numbers (or multiples of a power of two), so that the sums are exact in any
    order and do not depend on the number of threads.
    """
    rows, columns = counts_NM.shape
    rng = np.random.default_rng(resampling.seed)
    sums_RM = np.empty((resampling.draws, columns))
    for start, stop in _chunks(resampling.draws, rows):
        index_CN = rng.choice(rows, size=(stop - start, rows), replace=True)
        index_CN += np.arange(stop - start)[:, None] * rows
        weights = np.bincount(index_CN.ravel(), minlength=index_CN.size)
        sums_RM[start:stop] = weights.reshape(index_CN.shape).astype(np.float64) @ counts_NM
    return sums_RM


def draw(systems: Sequence[Float64], formula: Formula, resampling: Resampling) -> list[Drawn]:
    """Scores of several systems on the test set and on its resampled copies, the same for all.

    Args:
        systems: counts [N, M] of each system; row n is the same segment (or block) in all.
        formula: sums [R, M] -> scores [R].
        resampling: seed and draws.
    """
    sums = np.split(draw_sums(np.hstack(systems), resampling), len(systems), axis=1)
    return [
        Drawn(counts_NM, float(formula(counts_NM.sum(0)[None])[0]), formula(sums_RM))
        for counts_NM, sums_RM in zip(systems, sums, strict=True)
    ]


def interval(drawn: Drawn, resampling: Resampling) -> Interval:
    """The bootstrap interval of one system's score."""
    return _interval(drawn.scores_R, len(drawn.counts_NM), resampling)


def paired(
    first: Drawn,
    second: Drawn,
    formula: Formula,
    resampling: Resampling,
    *,
    higher_is_better: bool,
    test: Test,
) -> Paired:
    """Compares two systems that were drawn together.

    Args:
        first, second: of one call of `draw`.
        formula: the one that they were drawn with.
        resampling: the one that they were drawn with.
        higher_is_better: which sign of the difference is an improvement.
        test: where the p-value comes from. "bootstrap": the share of draws whose difference is
            as far from the observed one as that is from zero. "sacrebleu-bootstrap": sacrebleu's
            own rule, over absolute differences less their mean. "randomization": labels swapped
            at random, sacrebleu's `ar`.
    """
    drawn_R = second.scores_R - first.scores_R
    observed = second.score - first.score
    if np.array_equal(first.counts_NM, second.counts_NM):
        p_value = 1.0  # sacrebleu's two rules count no draw at all here, and say 1 / (R + 1)
    elif test == "randomization":
        p_value = _randomization(first.counts_NM, second.counts_NM, formula, observed, resampling)
    elif test == "sacrebleu-bootstrap":
        absolute_R = np.abs(drawn_R)
        p_value = _share(absolute_R - absolute_R.mean() > abs(observed))
    else:
        # A little slack: a draw equal to the test set itself must count as far as it.
        slack = 1e-12 * max(1.0, abs(observed))
        p_value = _share(np.abs(drawn_R - observed) >= abs(observed) - slack)
    better_R = drawn_R > 0 if higher_is_better else drawn_R < 0
    return Paired(
        difference=observed,
        interval=_interval(drawn_R, len(first.counts_NM), resampling),
        probability_of_improvement=float(better_R.mean()),
        ties=float((drawn_R == 0).mean()),
        p_value=p_value,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for all being looked at together (Holm 1979), in the order given."""
    total = len(p_values)
    adjusted = [0.0] * total
    largest = 0.0
    for rank, index in enumerate(sorted(range(total), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (total - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _randomization(
    first_NM: Float64, second_NM: Float64, formula: Formula, observed: float, resampling: Resampling
) -> float:
    """sacrebleu's approximate randomisation: each segment's two outputs change places or not."""
    rng = np.random.default_rng(resampling.seed)
    total_M = first_NM.sum(0) + second_NM.sum(0)
    far = 0
    rows = len(first_NM)
    # By 32 trials, since a boolean draw takes its bits from words of 32: a chunk that ended within
    # a word would lose the rest of it, and the trials would no longer be sacrebleu's.
    for start, stop in _chunks(resampling.draws, rows, multiple=32):
        taken_CN = rng.integers(2, size=(stop - start, rows), dtype=bool).astype(np.float64)
        one_CM = taken_CN @ first_NM + (1.0 - taken_CN) @ second_NM
        difference_C = np.abs(formula(one_CM) - formula(total_M - one_CM))
        far += int((difference_C > abs(observed)).sum())
    return (far + 1) / (resampling.draws + 1)


def _share(hits_R: npt.NDArray[np.bool_]) -> float:
    return (int(hits_R.sum()) + 1) / (len(hits_R) + 1)  # never 0: the test set is a draw as well


def _interval(scores_R: Float64, units: int, resampling: Resampling) -> Interval:
    ordered_R = np.sort(scores_R)
    cut = int(len(ordered_R) * (1 - resampling.level) / 2 + 1e-9)  # 1/40 of the draws at 95 %
    return Interval(
        low=float(ordered_R[cut]),
        high=float(ordered_R[len(ordered_R) - 1 - cut]),
        standard_error=float(scores_R.std(ddof=1)),
        units=units,
    )


def _chunks(draws: int, rows: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    step = max(1, _WEIGHTS // rows // multiple) * multiple
    for start in range(0, draws, step):
        yield start, min(draws, start + step)
