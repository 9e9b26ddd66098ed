"""The new rows of an embedding table, drawn around those that it has (paper section 3.2.2).

A new row is a sample of N(mean, 1e-5 x covariance) of the old rows, so that at first a new token is
about as likely as an average one (Hewitt 2021). Statistics are float64: 1e-5 times a covariance of
4,096 dimensions is at the limit of what float32 can factorise. Rows that only fill the table up to
a multiple of 64 get the mean itself: their logit is then the mean of all logits, which is never the
greatest, so even a reader that does not mask them never chooses one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import ModelError

SCALE = 1e-5
"""What the covariance is multiplied by."""

RIDGE = 1e-10
"""Share of the mean variance that is added to every variance if the covariance has no Cholesky
factor as it is: one of fewer rows than columns, or with columns that depend on each other."""

_BLOCK = 1024

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the old rows of a table.

    Attributes:
        count: how many rows.
        mean: float64 [D].
        factor: float64 [D, D], lower; times its transpose it is the covariance.
        ridge: what was added to each variance, 0 if nothing had to be.
    """

    count: int
    mean: Float64
    factor: Float64
    ridge: float


def statistics(rows: Iterable[Float64], again: Iterable[Float64], name: str) -> Statistics:
    """Mean and factorised covariance of rows that come in blocks.

    Args:
        rows: blocks [n, D] of all rows; for the mean.
        again: the same blocks once more; for the covariance around it.
        name: how errors call the table.

    Raises:
        ModelError: a value is not finite, or the rows do not vary.
    """
    count, total_D = 0, np.zeros(())
    for block in rows:
        if not np.isfinite(block).all():
            raise ModelError(
                f"{name}: row {count + int(np.argmin(np.isfinite(block).all(1)))} "
                "holds a value that is not finite"
            )
        count, total_D = count + len(block), total_D + block.sum(axis=0)
    mean_D = total_D / max(count, 1)
    moment_DD = np.zeros((mean_D.size, mean_D.size))
    for block in again:
        centred = block - mean_D
        moment_DD += centred.T @ centred
    covariance_DD = moment_DD / max(count, 1)
    variance = float(np.trace(covariance_DD)) / max(mean_D.size, 1)
    if not variance > 0:
        raise ModelError(f"{name}: its {count} rows are all alike, there is nothing to draw from")
    for ridge in (0.0, RIDGE * variance):
        try:
            ridged_DD = covariance_DD + ridge * np.eye(mean_D.size)
            factor_DD = np.asarray(np.linalg.cholesky(ridged_DD), np.float64)
        except np.linalg.LinAlgError:
            continue
        return Statistics(count, mean_D, factor_DD, ridge)
    raise ModelError(
        f"{name}: the covariance of its {count} rows is not positive definite, even with "
        f"{RIDGE:g} of the mean variance added"
    )


def new_rows(known: Statistics, drawn: int, filled: int, seed: int, table: int) -> Float64:
    """The rows that follow the old ones.

    Args:
        known: statistics of the old rows.
        drawn: rows for tokens.
        filled: rows behind them that fill the table up.
        seed: of all tables.
        table: number of the table; each draws from a stream of its own.

    Returns:
        float64 [drawn + filled, D].
    """
    stream = np.random.Generator(np.random.PCG64([seed, table]))
    made = np.tile(known.mean, (drawn + filled, 1))
    for first in range(0, drawn, _BLOCK):
        block = slice(first, min(first + _BLOCK, drawn))
        normal = stream.standard_normal((block.stop - block.start, known.mean.size))
        made[block] += np.sqrt(SCALE) * (normal @ known.factor.T)
    return made
