"""The parts of a training step on their own: order of the data, isolation, loss, guards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cpt_makers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spire_dsu.config import load_toml
from spire_dsu.errors import ConfigError
from spire_dsu.files import sha256_of_file
from spire_training.cpt.attention import Documents, LocalAttention
from spire_training.cpt.config import CptConfig, check_tokenizer, run_facts
from spire_training.cpt.data import Batch, RowOrder, make_batch, numbers_of_rank
from spire_training.cpt.logs import Log, is_spike
from spire_training.cpt.loss import NUM_KINDS, token_losses, weighted
from spire_training.data.isolation import documents, mask, positions
from spire_training.data.packed import LEARNED, UNITS, PackedRows, order

CPU = torch.device("cpu")


@given(
    micro=st.integers(1, 3),
    accumulation=st.integers(1, 4),
    ranks=st.integers(1, 4),
    first=st.integers(0, 1000),
)
def test_processes_share_out_a_batch(micro: int, accumulation: int, ranks: int, first: int) -> None:
    """Whatever the number of processes, together they take each row of the update once."""
    batch = micro * accumulation * ranks
    parts = [list(numbers_of_rank(first, batch, micro, rank, ranks)) for rank in range(ranks)]
    assert all(len(part) == accumulation for part in parts)
    taken = sorted(number for part in parts for numbers in part for number in numbers)
    assert taken == list(range(first, first + batch))


@given(seed=st.integers(0, 9), rows=st.integers(1, 40), first=st.integers(0, 100))
def test_row_order_is_a_function_of_the_number(seed: int, rows: int, first: int) -> None:
    expected = [int(order(seed, n // rows, rows)[n % rows]) for n in range(first, first + 30)]
    assert RowOrder(seed, rows).rows(first, 30) == expected
    backwards = RowOrder(seed, rows)
    numbers = reversed(range(first, first + 30))
    assert [backwards.row(number) for number in numbers] == expected[::-1]


@pytest.mark.parametrize("learn_units", [True, False])
def test_batch_predicts_what_is_marked(tmp_path: Path, learn_units: bool) -> None:
    rows = PackedRows(cpt_makers.packed(tmp_path / "data", 400))
    batch = make_batch(rows, [3, 5], learn_units=learn_units, device=CPU)
    for place, row in enumerate((3, 5)):
        tokens, marks = rows[row]
        counts = ((marks & LEARNED) != 0) & (learn_units | ((marks & 7) != UNITS))
        np.testing.assert_array_equal(batch.tokens[place], tokens)
        np.testing.assert_array_equal(batch.weights[place, :-1], counts[1:])
        np.testing.assert_array_equal(batch.labels[place, :-1], tokens[1:] * counts[1:])
        np.testing.assert_array_equal(batch.kinds[place, :-1], (marks[1:] & 7) * counts[1:])
        np.testing.assert_array_equal(batch.positions[place], positions(marks))
    assert batch.weights[:, -1].sum() == 0
    assert batch.real == sum(int((rows[row][1] != 0).sum()) for row in (3, 5))


class _Config:
    kv_channels = 8


def _documents(positions_BL: torch.Tensor) -> tuple[Documents, torch.Tensor]:
    frequencies = 1 / 10_000 ** (torch.arange(4) / 4)
    zeros = torch.zeros_like(positions_BL)
    batch = Batch(zeros, zeros, zeros.float(), zeros, positions_BL, zeros.numel())
    return Documents.of(batch, frequencies, torch.float32), frequencies


def _reference(
    query: Any, key: Any, value: Any, positions_BL: Any, frequencies: Any, seen: Any
) -> Any:
    """Rotary embedding and masked attention as written down, [L, B, heads, 8] in and out."""
    angles = positions_BL.T[..., None].double() * torch.cat((frequencies, frequencies)).double()

    def rotated(x: Any) -> Any:
        turned = torch.cat((-x[..., 4:], x[..., :4]), -1)
        return x * angles.cos()[:, :, None] + turned * angles.sin()[:, :, None]

    groups = query.shape[2] // key.shape[2]
    query, key, value = (x.double() for x in (query, key, value))
    key, value = rotated(key).repeat_interleave(groups, 2), value.repeat_interleave(groups, 2)
    scores = torch.einsum("qbhd,kbhd->bhqk", rotated(query), key) / 8**0.5
    weights = scores.masked_fill(~seen[:, None], float("-inf")).softmax(-1)
    return torch.einsum("bhqk,kbhd->qbhd", weights, value).flatten(2)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_attention_is_that_of_the_mask(data: st.DataObject) -> None:
    """Against the plain formula with the data part's own mask, gradients too."""
    length, rows = data.draw(st.integers(1, 33)), data.draw(st.integers(1, 3))
    starts = data.draw(
        st.lists(st.sampled_from([0, 2, 130]), min_size=rows * length, max_size=rows * length)
    )
    marks = np.array(starts, np.uint8).reshape(rows, length)
    marks[:, 0] = 130
    marks[marks == 0] = 2
    places = torch.from_numpy(positions(marks))
    made, frequencies = _documents(places)
    seen = torch.from_numpy(mask(marks))
    torch.manual_seed(0)
    inputs = [torch.randn(length, rows, heads, 8, requires_grad=True) for heads in (4, 2, 2)]
    again = [x.detach().double().requires_grad_() for x in inputs]
    found = LocalAttention(_Config(), 1, None, "self")(*inputs, made)
    expected = _reference(*again, places, frequencies, seen)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
    weight = torch.randn(found.shape)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for mine, other in zip(inputs, again, strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad.double(), other.grad, atol=1e-4, rtol=1e-3)


def test_a_neighbour_changes_nothing() -> None:
    """Isolation, bit for bit: another document in the row has other content."""
    marks = np.full((1, 30), 2, np.uint8)
    marks[0, [0, 11, 19]] = 130
    made, _ = _documents(torch.from_numpy(positions(marks)))
    attention = LocalAttention(_Config(), 1, None, "self")
    torch.manual_seed(0)
    tokens = torch.randn(3, 30, 1, 2, 8)
    changed = tokens.clone()
    changed[:, 11:19] += 1
    before, after = attention(*tokens, made), attention(*changed, made)
    same = torch.from_numpy(documents(marks)[0] != 1)
    assert torch.equal(before[same], after[same])
    assert not torch.equal(before[~same], after[~same])


def test_bfloat16_attention_is_near() -> None:
    """The way that a CPU takes in bfloat16, against float32 on the same rounded values."""
    made, _ = _documents(torch.arange(40).expand(2, 40).contiguous())
    torch.manual_seed(0)
    tokens = torch.randn(3, 40, 2, 2, 8).bfloat16()
    attention = LocalAttention(_Config(), 1, None, "self")
    half = Documents(
        made.shapes, made.taken, made.real, made.places, made.cos.bfloat16(), made.sin.bfloat16()
    )
    found = attention(*tokens, half).float()
    torch.testing.assert_close(found, attention(*tokens.float(), made), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("rows", [5, 300])
def test_loss_is_torchs_over_known_tokens(rows: int) -> None:
    torch.manual_seed(0)
    logits = (5 * torch.randn(rows, 1, 40)).requires_grad_()
    again = logits.detach().clone().requires_grad_()
    labels = torch.randint(0, 37, (rows, 1))
    found = token_losses(logits + 0, labels, 37, 1)
    expected = torch.nn.functional.cross_entropy(again[:, 0, :37], labels[:, 0], reduction="none")[
        :, None
    ]
    torch.testing.assert_close(found, expected)
    weight = torch.rand(rows, 1)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(logits.grad, again.grad)
    assert logits.grad is not None
    assert (logits.grad[..., 37:] == 0).all(), "padding of the vocabulary is not in the softmax"


def test_a_token_counts_the_same_everywhere() -> None:
    """Sums, not means: a micro-batch of few predictions does not weigh as much as a full one."""
    kinds = torch.tensor([[1, 2, 0, 2]])
    weights = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    zeros = torch.zeros(1, 4, dtype=torch.int64)
    batch = Batch(zeros, zeros, weights, kinds, zeros, 4)
    total, number, record = weighted(torch.tensor([[1.0, 2.0, 9.0, 4.0]]), batch)
    assert (float(total), int(number)) == (7.0, 3)
    assert record["kinds"].shape == (2, NUM_KINDS)
    assert record["kinds"][:, :3].tolist() == [[0.0, 1.0, 6.0], [0.0, 1.0, 2.0]]


def test_spikes_are_judged_by_the_median() -> None:
    assert is_spike(3.1, [1.0] * 4, 3.0, 4)
    assert not is_spike(2.9, [1.0] * 4, 3.0, 4)
    assert not is_spike(3.1, [1.0] * 3, 3.0, 4), "too few to judge by"
    assert not is_spike(3.1, [1.0] * 4, 0.0, 4), "switched off"


def test_log_drops_what_is_done_again(tmp_path: Path) -> None:
    values = {"sequences": 8, "loss": 2.0, "lr": 0.1, "tokens": 5, "tokens_per_second": 1.0}
    log = Log(tmp_path, 0, 9, tensorboard=True)
    for step in range(1, 6):
        log.line({"step": step, **values})
    log.close()
    with (tmp_path / "log.csv").open("a") as file:
        file.write("6,48,1.9")  # killed in the middle of a line
    Log(tmp_path, 3, 9, tensorboard=False).close()
    assert [int(row["step"]) for row in cpt_makers.curve(tmp_path)] == [1, 2, 3]
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"steps": 0, "batch": {"sequences": 100, "micro": 1}}, ["48 rows", "100 sequences"]),
        ({"batch": {"sequences": 9, "micro": 2}}, ["9", "batch.micro 2 x 2"]),
        ({"model": "nowhere"}, ["nowhere"]),
    ],
)
def test_refused_by_name(tmp_path: Path, changes: dict[str, Any], names: list[str]) -> None:
    config = cpt_makers.config(tmp_path, "out", **changes)

    def all_checks() -> None:
        config.num_steps(48)
        config.accumulation(2)
        run_facts(config)

    with pytest.raises(ConfigError) as error:
        all_checks()
    assert all(name in str(error.value) for name in names), error.value


def test_facts_leave_out_what_may_change(tmp_path: Path) -> None:
    cpt_makers.base(tmp_path / "base")
    cpt_makers.packed(tmp_path / "data", 400)
    facts = run_facts(cpt_makers.config(tmp_path, "out"))
    other = {"batch": {"sequences": 8, "micro": 4}, "parallel": {"tensor": 2}}
    assert run_facts(cpt_makers.config(tmp_path, "elsewhere", **other)) == facts
    assert run_facts(cpt_makers.config(tmp_path, "out", seed=1)) != facts
    assert run_facts(cpt_makers.config(tmp_path, "out", learn_units=False)) != facts


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    cpt_makers.base(tmp_path / "base")
    config = cpt_makers.config(tmp_path, "out")
    name = "tokenizer.json"
    check_tokenizer(config, {"tokenizer": {name: sha256_of_file(tmp_path / "base" / name)}})
    with pytest.raises(ConfigError, match=r"tokenizer\.json is not the .* was made with"):
        check_tokenizer(config, {"tokenizer": {name: "0" * 64}})


def test_recipe_is_the_papers() -> None:
    recipe = Path(__file__).parents[3] / "training" / "recipes" / "spire" / "cpt.toml"
    config = load_toml(recipe, CptConfig)
    assert config.batch.sequences == 2304
    pieces = config.parallel.tensor * config.parallel.pipeline
    assert config.accumulation(8 // pieces) >= 1
