"""The packed folder: written, read back by us and by megatron-core, and damage is seen."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spire_training.data.packed import (
    ANSWER,
    LEARNED,
    MONOLINGUAL,
    SPLITS,
    START,
    PackedError,
    PackedRows,
    RowWriter,
    order,
    token_type,
    write_manifest,
)

LENGTH = 16


def rows_of(count: int, vocabulary: int, seed: int = 0) -> list[tuple[Any, Any]]:
    """Rows of two documents and some padding."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        tokens = rng.integers(0, vocabulary, LENGTH).astype(np.int32)
        marks = np.full(LENGTH, LEARNED | MONOLINGUAL, np.uint8)
        border, end = sorted(rng.choice(np.arange(1, LENGTH + 1), 2, replace=False))
        marks[border:] = LEARNED | ANSWER
        marks[[0, border]] = START | MONOLINGUAL
        marks[end:] = 0
        made.append((tokens, marks))
    return made


def write(folder: Path, count: int = 9, vocabulary: int = 400, seed: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    files: dict[str, Any] = {}
    for split in SPLITS:
        with RowWriter(folder, split, LENGTH, vocabulary) as writer:
            for tokens, marks in rows_of(count if split == "train" else 2, vocabulary, seed):
                writer.write(tokens, marks)
        files |= writer.facts()
    write_manifest(
        folder,
        {
            "sequence_length": LENGTH,
            "rows": {"train": count, "held": 2},
            "vocabulary": {"num_tokens": vocabulary},
            "files": files,
        },
    )


@pytest.mark.parametrize("vocabulary", [400, 65_499, 65_500, 70_000])
def test_round_trip(tmp_path: Path, vocabulary: int) -> None:
    write(tmp_path, vocabulary=vocabulary)
    rows = PackedRows(tmp_path)
    rows.verify()
    assert len(rows) == 9
    for row, (tokens, marks) in enumerate(rows_of(9, vocabulary)):
        found_tokens, found_marks = rows[row]
        assert found_tokens.dtype == np.int32
        np.testing.assert_array_equal(found_tokens, tokens)
        np.testing.assert_array_equal(found_marks, marks)
    with pytest.raises(IndexError, match="row 9"):
        rows[9]
    assert len(PackedRows(tmp_path, "held")) == 2


def indexed_dataset() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        return pytest.importorskip("megatron.core.datasets.indexed_dataset")


def test_megatron_core_reads_it(tmp_path: Path) -> None:
    IndexedDataset = indexed_dataset().IndexedDataset

    write(tmp_path)
    tokens, marks = (
        IndexedDataset(str(tmp_path / "train")),
        IndexedDataset(str(tmp_path / "train.marks")),
    )
    assert len(tokens) == len(marks) == 9
    for row, (expected_tokens, expected_marks) in enumerate(rows_of(9, 400)):
        np.testing.assert_array_equal(tokens[row], expected_tokens)
        np.testing.assert_array_equal(marks[row], expected_marks)
    np.testing.assert_array_equal(tokens.document_indices, np.arange(10))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # its builder's
def test_files_are_those_of_megatrons_builder(tmp_path: Path) -> None:
    import torch

    IndexedDatasetBuilder = indexed_dataset().IndexedDatasetBuilder

    write(tmp_path / "ours")
    for name, dtype, part in (("train", np.uint16, 0), ("train.marks", np.uint8, 1)):
        builder = IndexedDatasetBuilder(str(tmp_path / f"{name}.bin"), dtype=dtype)
        for row in rows_of(9, 400):
            builder.add_document(torch.from_numpy(row[part].astype(np.int64)), [LENGTH])
        builder.finalize(str(tmp_path / f"{name}.idx"))
        for suffix in ("bin", "idx"):
            theirs = (tmp_path / f"{name}.{suffix}").read_bytes()
            assert (tmp_path / "ours" / f"{name}.{suffix}").read_bytes() == theirs


@pytest.mark.parametrize("name", ["train.bin", "train.idx", "train.marks.bin", "train.marks.idx"])
def test_every_flipped_byte_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PackedError, match=name):
        PackedRows(tmp_path).verify()
    (tmp_path / name).write_bytes(data[:-1])
    with pytest.raises(PackedError, match=name):
        PackedRows(tmp_path)


def test_without_a_manifest_it_is_not_finished(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(PackedError, match="finished"):
        PackedRows(tmp_path)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"sequence_length": 16', '"sequence_length": 17'))
    with pytest.raises(PackedError, match="damaged"):
        PackedRows(tmp_path)


def broken(rule: str) -> tuple[Any, Any]:
    tokens, marks = rows_of(1, 400)[0]
    marks[:] = LEARNED | MONOLINGUAL
    marks[0] = START | MONOLINGUAL
    if rule == "learned padding":
        marks[-1] = LEARNED
    elif rule == "behind padding":
        marks[3] = 0
    elif rule == "first token is learned":
        marks[5] |= START
    elif rule == "begin with a document":
        marks[0] = MONOLINGUAL
    elif rule == "unknown mark":
        marks[4] |= 8
    return tokens, marks


@pytest.mark.parametrize(
    "rule",
    [
        "learned padding",
        "behind padding",
        "first token is learned",
        "begin with a document",
        "unknown mark",
    ],
)
def test_rules_of_marks_are_checked(tmp_path: Path, rule: str) -> None:
    files: dict[str, Any] = {}
    for split in SPLITS:
        with RowWriter(tmp_path, split, LENGTH, 400) as writer:
            writer.write(*rows_of(1, 400)[0])
            writer.write(*broken(rule))
        files |= writer.facts()
    content = {
        "sequence_length": LENGTH,
        "rows": {"train": 2, "held": 2},
        "vocabulary": {"num_tokens": 400},
        "files": files,
    }
    write_manifest(tmp_path, content)
    with pytest.raises(PackedError, match=f"row 1: .*{rule}"):
        PackedRows(tmp_path).verify()


def test_an_id_beyond_the_vocabulary_is_not_written(tmp_path: Path) -> None:
    tokens, marks = rows_of(1, 400)[0]
    tokens[7] = 400
    with (
        pytest.raises(PackedError, match="token 400"),
        RowWriter(tmp_path, "train", LENGTH, 400) as writer,
    ):
        writer.write(tokens, marks)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1 << 31])
def test_no_dtype_for_such_a_vocabulary(size: int) -> None:
    with pytest.raises(PackedError, match=str(size)):
        token_type(size)


def test_order_is_a_permutation_of_its_own_for_each_epoch_and_seed() -> None:
    orders = [order(seed, epoch, 1000) for seed in range(3) for epoch in range(3)]
    for one in orders:
        np.testing.assert_array_equal(np.sort(one), np.arange(1000))
    assert len({one.tobytes() for one in orders}) == 9
    moved = np.mean([np.abs(one - np.arange(1000)).mean() for one in orders])
    assert abs(moved - 333) < 20  # what a uniform permutation moves on average


def test_order_never_changes() -> None:
    """Runs of old versions must find their rows again."""
    assert order(1, 0, 10).tolist() == [5, 8, 6, 0, 3, 1, 4, 2, 9, 7]
    assert order(1, 1, 10).tolist() == [5, 2, 9, 1, 0, 7, 6, 3, 8, 4]
    assert order(1, 0, 0).tolist() == []
