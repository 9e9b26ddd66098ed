"""Document isolation: a neighbour in the row changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llm import tiny_llama

from spire_training.data import isolation
from spire_training.data.packed import LEARNED, MONOLINGUAL, START
from spire_training.data.packing import BestFit


def marks_of(sizes: list[int], padding: int) -> Any:
    parts = []
    for size in sizes:
        part = np.full(size, LEARNED | MONOLINGUAL, np.uint8)
        part[0] = START | MONOLINGUAL
        parts.append(part)
    return np.concatenate([*parts, np.zeros(padding, np.uint8)])


ROWS = st.tuples(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 5))


@settings(max_examples=50)
@given(ROWS)
def test_masks_positions_and_lengths_say_the_same(row: tuple[list[int], int]) -> None:
    sizes, padding = row
    marks = marks_of(sizes, padding)
    blocks = [*sizes, *([padding] if padding else [])]
    assert isolation.lengths(marks).tolist() == blocks
    expected = np.zeros((marks.size, marks.size), bool)
    at = 0
    for size in blocks:
        expected[at : at + size, at : at + size] = np.tri(size, dtype=bool)
        at += size
    np.testing.assert_array_equal(isolation.mask(marks), expected)
    places = np.concatenate([np.arange(size) for size in blocks])
    np.testing.assert_array_equal(isolation.positions(marks), places)
    both = np.stack([marks, marks])
    np.testing.assert_array_equal(isolation.mask(both)[1], expected)
    np.testing.assert_array_equal(isolation.positions(both)[1], places)
    assert int(isolation.learned(marks).sum()) == sum(sizes) - len(sizes)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    folder = tiny_llama(tmp_path_factory.mktemp("llama"), units=50)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model: Any, tokens_L: Any, mask_LL: Any, positions_L: Any) -> Any:
    with torch.no_grad():
        return model(
            input_ids=torch.from_numpy(tokens_L.astype(np.int64))[None],
            attention_mask=torch.from_numpy(mask_LL)[None, None],
            position_ids=torch.from_numpy(positions_L)[None],
            use_cache=False,
        ).logits[0]


def test_a_perturbed_neighbour_changes_nothing(model: Any) -> None:
    """Packs three documents, changes the first and the last, and looks at the middle one."""
    rng = np.random.default_rng(0)
    vocabulary = model.config.vocab_size
    packer = BestFit(40, 1, 0)
    for size in (12, 15, 9):
        marks = marks_of([size], 0)
        assert list(packer.add(rng.integers(3, vocabulary, size).astype(np.int32), marks)) == []
    ((tokens, marks),) = packer.finish()
    middle = slice(12, 27)
    mask, positions = isolation.mask(marks), isolation.positions(marks)
    before = logits(model, tokens, mask, positions)
    other = tokens.copy()
    other[:12] = rng.integers(3, vocabulary, 12)
    other[27:] = rng.integers(3, vocabulary, 13)
    after = logits(model, other, mask, positions)
    torch.testing.assert_close(before[middle], after[middle], rtol=0, atol=0)
    assert not torch.equal(before[:12], after[:12])
    # And it is what the model says of the document alone.
    alone = logits(model, tokens[middle], np.tri(15, dtype=bool), np.arange(15))
    torch.testing.assert_close(before[middle], alone, rtol=0, atol=1e-4)


def test_without_the_mask_or_the_positions_it_would_not_be_isolated(model: Any) -> None:
    """The test above can fail: with a causal mask alone, the middle document changes."""
    rng = np.random.default_rng(1)
    marks = marks_of([12, 15], 0)
    tokens = rng.integers(3, model.config.vocab_size, 27).astype(np.int32)
    positions, causal = isolation.positions(marks), np.tri(27, dtype=bool)
    other = np.concatenate([rng.integers(3, 400, 12), tokens[12:]])
    before, after = (logits(model, row, causal, positions)[12:] for row in (tokens, other))
    assert (before - after).abs().max() > 1e-2
    alone = logits(model, tokens[12:], np.tri(15, dtype=bool), np.arange(15))
    shifted = logits(model, tokens, isolation.mask(marks), np.arange(27))[12:]
    torch.testing.assert_close(shifted, alone, rtol=0, atol=1e-3)  # RoPE sees distances alone
