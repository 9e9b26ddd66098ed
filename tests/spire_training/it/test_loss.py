"""Packed rows are learned as if each document stood alone, and nothing else is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from instruction_packs import documents, pack
from tiny_llm import tiny_llama
from transformers import AutoModelForCausalLM

from spire_training.data.packed import ANSWER, KIND, LEARNED, PackedRows
from spire_training.it.loss import KINDS, by_kind, token_losses
from spire_training.it.rows import BLANK, NOT_LEARNED, Collator, RankBatches, RowSet, Schedule

LENGTH = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loss")
    tiny_llama(folder / "model", units=20)
    return pack(folder / "data", folder / "model", rows=4)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder.parent / "model").train()


@pytest.fixture(scope="module")
def tokens(folder: Path) -> int:
    return int(PackedRows(folder).manifest["vocabulary"]["num_tokens"])


def batch_of(folder: Path, *rows: int) -> dict[str, torch.Tensor]:
    data = RowSet(PackedRows(folder))
    return Collator(LENGTH)([data[row] for row in rows])


def test_a_pack_has_the_losses_of_its_documents_alone(
    folder: Path, model: Any, tokens: int
) -> None:
    losses, kinds = token_losses(model, batch_of(folder, 0), tokens)
    expected = []
    ids, _ = PackedRows(folder)[0]
    at = 0
    for document, marks in documents(folder.parent / "model", 12):
        if at + document.size > LENGTH or not (ids[at : at + document.size] == document).all():
            break
        at += document.size
        labels = torch.tensor(np.where(marks & LEARNED, document, NOT_LEARNED)).long()[None]
        inputs = torch.tensor(document).long()[None]
        alone = model(inputs, use_cache=False).logits[0, :-1].float().log_softmax(-1)
        learned = labels[0, 1:] != NOT_LEARNED
        chosen = labels[0, 1:][learned]
        expected.append(-alone[learned].gather(1, chosen[:, None]).squeeze(1))
    assert len(expected) >= 2
    torch.testing.assert_close(losses, torch.cat(expected), rtol=1e-4, atol=1e-4)
    assert set(kinds.tolist()) == {ANSWER}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_neighbour_cannot_be_felt(folder: Path, tokens: int, attention: str) -> None:
    """In the model as it is trained: in training mode, through the very same call."""
    model = AutoModelForCausalLM.from_pretrained(
        folder.parent / "model", attn_implementation=attention
    ).train()
    batch = batch_of(folder, 0, 1)
    before, _ = token_losses(model, batch, tokens)
    second = int((batch["position_ids"][0] == 0).nonzero()[1])
    changed = {name: values.clone() for name, values in batch.items()}
    changed["input_ids"][0, :second] = 5
    after, _ = token_losses(model, changed, tokens)
    first = int((batch["labels"][0, :second] != NOT_LEARNED).sum())
    assert not torch.equal(before[:first], after[:first])
    torch.testing.assert_close(after[first:], before[first:], rtol=1e-6, atol=1e-6)


def test_flattened_rows_have_the_same_losses(folder: Path, model: Any, tokens: int) -> None:
    batch = batch_of(folder, 0, 1)
    losses, _ = token_losses(model, batch, tokens)
    flat, _ = token_losses(model, batch, tokens, flatten=True)
    torch.testing.assert_close(flat, losses, rtol=1e-4, atol=1e-4)


def test_rows_of_padding_in_the_vocabulary_have_no_part(
    folder: Path, model: Any, tokens: int
) -> None:
    batch = batch_of(folder, 0)
    losses, _ = token_losses(model, batch, tokens)
    padded = AutoModelForCausalLM.from_pretrained(folder.parent / "model").train()
    padded.resize_token_embeddings(tokens + 10)
    with torch.no_grad():
        padded.lm_head.weight[tokens:] = 3.0
    again, _ = token_losses(padded, batch, tokens)
    torch.testing.assert_close(again, losses)
    again.sum().backward()
    assert not padded.lm_head.weight.grad[tokens:].any()


def test_a_blank_row_teaches_nothing(folder: Path, model: Any, tokens: int) -> None:
    data = RowSet(PackedRows(folder))
    losses, kinds = token_losses(model, Collator(LENGTH)([data[BLANK]] * 2), tokens)
    losses.sum().backward()
    assert losses.tolist() == [0.0]
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)
    assert by_kind(losses, kinds).sum() == 0
    model.zero_grad()


def test_losses_are_told_apart_by_kind() -> None:
    tally = by_kind(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3, 6, 3]))
    assert tally.shape == (2, KINDS)
    assert tally[:, 3].tolist() == [5.0, 2.0]
    assert tally[:, 6].tolist() == [2.0, 1.0]


def test_labels_are_the_learned_tokens(folder: Path) -> None:
    batch = batch_of(folder, 2)
    ids, marks = PackedRows(folder)[2]
    learned = (marks & LEARNED) != 0
    assert batch["labels"][0].tolist() == np.where(learned, ids, NOT_LEARNED).tolist()
    assert batch["kinds"][0].tolist() == (marks & KIND).tolist()


@pytest.mark.parametrize(("processes", "size"), [(1, 6), (2, 3), (3, 1), (6, 1)])
def test_a_step_has_the_same_rows_for_any_number_of_processes(processes: int, size: int) -> None:
    schedule = Schedule(10, epochs=2, seed=3, batch_rows=6)
    assert schedule.steps == 4
    ranks = [
        list(RankBatches(schedule, steps=4, micro_batch=size, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    share = 6 // (processes * size)
    for step in range(4):
        batches = [b for rank in ranks for b in rank[step * share : (step + 1) * share]]
        assert sorted(row for batch in batches for row in batch) == sorted(schedule.rows(step))
    everything = [row for step in range(4) for row in schedule.rows(step)]
    assert sorted(everything[:10]) == sorted(everything[10:20]) == list(range(10))
    assert everything[:10] != everything[10:20]
    assert everything[20:] == [BLANK] * 4
