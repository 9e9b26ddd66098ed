"""Whatever a power cut leaves on disk: nothing that counts as committed is wrong or gone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from faults.failpoints import FaultyStorage
from faults.power import Disk, build
from unit_rows import MULTIPLIER, convert, make_rows, tree

from spire_dsu.journal import JournalError, journal_names, parse_journal
from spire_dsu.shards import MANIFEST, ShardError, open_shards

ROWS = make_rows(14)
ROWS_PER_SHARD = 8
PER_STEP = 4 * MULTIPLIER


def committed(folder: Path) -> int:
    """How many shards count as committed; each is whole, or this fails."""
    count = 0
    for name in journal_names(folder):
        _, infos, _ = parse_journal((folder / name).read_bytes(), name)
        for info in infos:
            assert hashlib.sha256((folder / info.file).read_bytes()).hexdigest() == info.sha256
        count += len(infos)
    if (folder / MANIFEST).exists():
        assert len(list(open_shards(folder))) == len(ROWS)
        count = 2
    return count


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("whole")
    convert(folder, ROWS, ROWS_PER_SHARD)
    return tree(folder)


def test_every_image_of_a_power_cut_opens_and_is_finished(
    tmp_path: Path, whole: dict[str, str]
) -> None:
    disk = Disk(tmp_path / "run", PER_STEP, seed=3)
    (tmp_path / "run").mkdir()
    convert(tmp_path / "run", ROWS, ROWS_PER_SHARD, storage=disk)
    assert len(disk.images) > 100 * MULTIPLIER
    seen = set()
    for number, image in enumerate(disk.images):
        folder = tmp_path / str(number)
        folder.mkdir()
        build(image, folder)
        seen.add(committed(folder))
        assert convert(folder, ROWS, ROWS_PER_SHARD, storage=FaultyStorage()) is not None
        assert tree(folder) == whole
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("forgotten", ["fsync", "fsync_dir"])
def test_forgetting_to_force_anything_to_disk_is_found(tmp_path: Path, forgotten: str) -> None:
    """The instrument itself: were a call left out, these images would say so."""
    disk = Disk(tmp_path / "run", 4, seed=4)
    setattr(disk, forgotten, lambda _: None)
    (tmp_path / "run").mkdir()
    convert(tmp_path / "run", ROWS, ROWS_PER_SHARD, storage=disk)
    wrong = 0
    for number, image in enumerate(disk.images):
        (tmp_path / str(number)).mkdir()
        build(image, tmp_path / str(number))
        try:
            committed(tmp_path / str(number))
        except (AssertionError, ShardError, JournalError, FileNotFoundError):
            wrong += 1
    assert wrong > 10
