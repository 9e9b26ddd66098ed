"""Parts on several machines, killed and divided anew at random: nothing lost, nothing twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from faults.job import MANY_ROWS, MANY_ROWS_PER_SHARD
from unit_rows import MULTIPLIER, convert, tree

from spire_dsu.shards import open_shards
from spire_dsu.verify import verify

ROUNDS = 2 * MULTIPLIER


def test_parts_that_are_killed_and_divided_anew_make_the_same_folder(
    tmp_path: Path, job: Callable[..., Any]
) -> None:
    convert(tmp_path / "whole", MANY_ROWS, MANY_ROWS_PER_SHARD)
    whole = tree(tmp_path / "whole")
    rng = np.random.default_rng(5)
    kills = 0
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        for _ in range(10):
            parts = int(rng.integers(2, 7))
            killed = rng.permutation(parts)[: int(rng.integers(1, parts))].tolist()
            after = float(rng.uniform(0, 0.06))
            ended = job(folder, parts=parts, after=after, killed=killed)
            kills += ended.count(-signal.SIGKILL)
            assert set(ended) <= {0, 5, -signal.SIGKILL}
        assert set(job(folder, parts=4, after=0, killed=[])) <= {0, 5}
        assert convert(folder, MANY_ROWS, MANY_ROWS_PER_SHARD) is not None
        assert tree(folder) == whole
        assert not (folder / ".tmp").exists()
        found = [row.id for row in open_shards(folder)]
        assert found == [row.id for row in MANY_ROWS]
        assert verify(folder, threads=1).ok
    assert kills > 0  # how many land in time is the machine's affair
