"""Choices that must never change: the same configuration makes the same bytes in every version."""

from __future__ import annotations

import numpy as np

from spire_training.data.hashing import SPAN, hash_of, next_hash
from spire_training.data.packed import mixed


def test_hashes_never_change() -> None:
    assert hash_of(0, "choice", "a") == 17000557726376372557
    assert next_hash(0, 0) == 0xE220A8397B1DCDAF  # SplitMix64's first output for the seed 0


def test_next_hash_is_the_same_mix_as_the_order_of_rows() -> None:
    values = np.arange(50, dtype=np.uint64)
    assert mixed(values).tolist() == [next_hash(value, 0) for value in range(50)]


def test_hashes_are_uniform_and_parts_do_not_run_together() -> None:
    found = [hash_of("x", number) for number in range(4000)]
    assert abs(np.mean(found) / SPAN - 0.5) < 0.02
    assert len(set(found)) == 4000
    assert hash_of("ab", "c") != hash_of("a", "bc")
    assert hash_of("\ud800") != hash_of("?")  # half of a surrogate pair is a text, too
