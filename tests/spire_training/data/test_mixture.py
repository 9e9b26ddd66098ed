"""Budgets: who gives how much, and which documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data_makers import config_of
from hypothesis import given, settings
from hypothesis import strategies as st

from spire_dsu.errors import ConfigError
from spire_training.data.mixture import BINS, Available, quotas, taken


def config(groups: dict[str, Any], **changes: Any) -> Any:
    sources = [{"kind": "speech", "name": name, "group": name, "shards": "s"} for name in groups]
    return config_of(
        {
            "stage": "cpt",
            "tokenizer": "t",
            "out": "o",
            "sequence_length": 64,
            "groups": groups,
            "sources": sources,
            **changes,
        }
    )


def test_without_budgets_all_is_taken() -> None:
    available = {"a": {"x": 10, "y": 20}, "b": {"z": 5}}
    assert quotas(config({"a": {}, "b": {}}), available) == {"x": 10, "y": 20, "z": 5}


def test_a_proportional_budget() -> None:
    made = quotas(config({"a": {"tokens": 15}}), {"a": {"x": 10, "y": 20}})
    assert made == {"x": 5, "y": 10}


def test_an_even_budget_takes_from_the_others_what_the_poor_lack() -> None:
    available = {"a": {"de": 1000, "ko": 10, "fr": 500}}
    made = quotas(config({"a": {"tokens": 600, "split": "even"}}), available)
    assert made == {"ko": 10, "fr": 295, "de": 295}


def test_ratios_five_to_one() -> None:
    groups = {"speech": {"ratio": 5.0}, "text": {"ratio": 1.0}}
    available = {"speech": {"x": 10_000}, "text": {"y": 10_000}}
    assert quotas(config(groups, tokens=600), available) == {"x": 500, "y": 100}
    # Without a total: as much as keeps the ratio.
    assert quotas(config(groups), available) == {"x": 10_000, "y": 2_000}
    assert quotas(config(groups), {"speech": {"x": 10_000}, "text": {"y": 1_000}}) == {
        "x": 5_000,
        "y": 1_000,
    }


def test_an_empty_stream_gives_nothing() -> None:
    assert quotas(config({"a": {"tokens": 5}}), {"a": {}}) == {}
    assert quotas(config({"a": {"tokens": 5}}), {"a": {"x": 0}}) == {"x": 0}


@pytest.mark.parametrize(
    ("groups", "changes", "message"),
    [
        ({"a": {"ratio": 1.0}, "b": {}}, {}, "only"),
        ({"a": {"ratio": 1.0, "tokens": 5}}, {}, "tokens and a ratio"),
        ({"a": {}}, {"tokens": 7}, "without ratios"),
    ],
)
def test_contradicting_budgets_are_refused(
    groups: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(groups, **changes)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 20_000), st.integers(0, 300))
def test_what_is_taken_fills_the_budget_and_no_more(seed: int, quota: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 100, 200).tolist()
    choices = [int(x) for x in rng.integers(0, 2**64, 200, dtype=np.uint64)]
    available = Available()
    for choice, size in zip(choices, sizes, strict=True):
        available.add(choice, size)
    quota = min(quota, available.limited(limit))
    decide = taken(available, quota, limit)
    kept = [s for c, s in zip(choices, sizes, strict=True) if decide.takes(c, s)]
    assert sum(kept) <= quota
    assert not limit or len(kept) <= limit
    if quota == sum(sizes) and not limit:
        assert kept == sizes
    if not limit:
        assert quota - sum(kept) < 100 * 3  # what did not fit at the cut


def test_documents_alone_are_exact() -> None:
    rng = np.random.default_rng(3)
    choices = [int(x) for x in rng.integers(0, 2**64, 5000, dtype=np.uint64)]
    available = Available()
    for choice in choices:
        available.add(choice, 10)
    decide = taken(available, available.limited(1234), 1234)
    assert sum(decide.takes(choice, 10) for choice in choices) == 1234


def test_held_out_data_is_thinned_alike() -> None:
    available = Available()
    for place in range(BINS):
        available.add(place * (2**64 // BINS), 10)
    decide = taken(available, 10 * BINS // 4, 0)
    kept = sum(decide.holds_out(place * (2**64 // BINS)) for place in range(BINS))
    assert kept == BINS // 4
