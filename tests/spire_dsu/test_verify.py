"""`verify` finds every changed byte and names the file at fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from unit_rows import FINGERPRINT, MULTIPLIER, convert, make_rows, row_of_frames, tree

from spire_dsu.journal import Journal, Plan
from spire_dsu.shards import (
    MANIFEST,
    OutputManifest,
    ShardError,
    open_shards,
    seal,
    unseal,
    write_shard,
)
from spire_dsu.verify import verify

FLIPS = 100 * MULTIPLIER


def test_a_finished_conversion_is_good(tmp_path: Path) -> None:
    manifest = convert(tmp_path, make_rows(36))
    before = tree(tmp_path)
    found = verify(tmp_path)
    assert found.ok
    assert found.problems == []
    assert (found.shards, found.rows) == (5, 36)
    assert found.bytes == sum(shard.bytes for shard in manifest.shards)
    assert tree(tmp_path) == before


def test_an_unfinished_conversion_is_said_to_be_unfinished(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(36), limit=2)
    found = verify(tmp_path)
    assert [str(problem) for problem in found.problems] == [
        "manifest.json: missing: not finished, 2 shards are committed"
    ]
    assert (found.shards, found.rows, found.ok) == (2, 16, False)


def test_no_conversion_at_all(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        (problem,) = verify(folder).problems
        assert "holds no conversion" in str(problem)


def flip(path: Path, rng: np.random.Generator) -> bytes:
    """Changes one byte of a file at random; returns what the file was."""
    data = path.read_bytes()
    bad = bytearray(data)
    bad[int(rng.integers(len(bad)))] ^= int(rng.integers(1, 256))
    path.write_bytes(bad)
    return data


def test_every_flipped_byte_of_a_finished_conversion_is_found(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(30))
    rng = np.random.default_rng(1)
    files = sorted(path for path in tmp_path.iterdir() if path.is_file())
    assert len(files) == 5
    for _ in range(FLIPS):
        path = files[int(rng.integers(len(files)))]
        data = flip(path, rng)
        found = verify(tmp_path, threads=1)
        assert {problem.file for problem in found.problems} == {path.name}
        with pytest.raises(ShardError, match=path.name):
            list(open_shards(tmp_path).batches())
        path.write_bytes(data)
    assert verify(tmp_path).ok


def test_every_flipped_byte_of_an_unfinished_conversion_is_found(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(30), limit=3)
    rng = np.random.default_rng(2)
    files = [tmp_path / "journal-00000-of-00001", *sorted(tmp_path.glob("*.parquet"))]
    for turn in range(FLIPS):
        path = files[turn % 2 * int(rng.integers(len(files)))]  # the journal every other time
        data = flip(path, rng)
        found = verify(tmp_path, threads=1)
        assert {problem.file for problem in found.problems} == {path.name, MANIFEST}
        path.write_bytes(data)


def test_what_is_missing_and_what_is_too_much(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(24))
    (tmp_path / "units-00001.parquet").unlink()
    shutil.copy(tmp_path / "units-00000.parquet", tmp_path / "units-00003.parquet")
    (tmp_path / "notes.txt").write_text("not ours")
    found = verify(tmp_path)
    assert [problem.file for problem in found.problems] == [
        "units-00001.parquet",
        "units-00003.parquet",
    ]
    assert "not listed" in str(found.problems[1])
    assert found.shards == 2


def test_two_rows_with_one_id_are_found_across_shards_and_within(tmp_path: Path) -> None:
    names = [*"abcdefgh", *"ibkclbop", *"qrsqtuvw"]
    convert(tmp_path, [row_of_frames([1, 2], id=name) for name in names])
    found = {problem.file: str(problem) for problem in verify(tmp_path).problems}
    assert set(found) == {"units-00001.parquet", "units-00002.parquet"}
    assert "id 'b' and 2 more stands twice, also in units-00000" in found["units-00001.parquet"]
    assert "id 'q' stands twice, also in units-00002" in found["units-00002.parquet"]


def test_counts_that_are_not_those_of_the_rows_are_found(tmp_path: Path) -> None:
    manifest = convert(tmp_path, make_rows(16))
    first, second = manifest.shards
    for lie in ({"counts": {"ok": 8}}, {"samples": 1}, {"units": 1}, {"rows": 7}):
        changed = manifest.model_copy(update={"shards": (first, second.model_copy(update=lie))})
        (tmp_path / MANIFEST).write_bytes(changed.to_bytes())
        (problem,) = verify(tmp_path).problems
        assert problem.file == (MANIFEST if "rows" in lie else second.file)


def test_parts_that_disagree_are_found(tmp_path: Path) -> None:
    rows = make_rows(16)
    plan = Plan(16, 8)
    with Journal(tmp_path, FINGERPRINT, plan) as journal:
        journal.commit(write_shard(tmp_path, 0, rows[:8], journal.fingerprint))
    path = tmp_path / "journal-00000-of-00001"
    convert(tmp_path / "other", [*reversed(rows[:8]), *rows[8:]], limit=1)
    shutil.copy(tmp_path / "other" / path.name, tmp_path / "journal-00001-of-00002")
    assert "committed twice" in "".join(map(str, verify(tmp_path).problems))
    (tmp_path / "journal-00001-of-00002").write_bytes(b"nothing")
    assert "first line is damaged" in "".join(map(str, verify(tmp_path).problems))


def test_threads_do_not_change_the_answer(tmp_path: Path) -> None:
    convert(tmp_path, make_rows(40))
    (tmp_path / "units-00002.parquet").write_bytes(b"no")
    assert verify(tmp_path, threads=1) == verify(tmp_path, threads=4)


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    manifest = convert(tmp_path, make_rows(8))
    (tmp_path / MANIFEST).write_bytes(seal({**unseal(manifest.to_bytes()), "version": 2}))
    (problem,) = verify(tmp_path).problems
    assert problem.file == MANIFEST
    assert "version" in str(problem)
    assert OutputManifest.from_bytes(manifest.to_bytes()) == manifest
