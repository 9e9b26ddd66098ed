"""What is committed stays so; what is not is made again; nobody works where another works."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from unit_rows import FINGERPRINT, QuickStorage, convert, make_rows, tree

from spire_dsu import journal as journal_module
from spire_dsu.errors import SpireError
from spire_dsu.journal import (
    FingerprintError,
    Journal,
    JournalError,
    Plan,
    frame,
    journal_names,
    parse_journal,
)
from spire_dsu.locking import LockedError
from spire_dsu.shards import MANIFEST, open_shards, write_shard
from spire_dsu.storage import DISK, Storage

ROWS = make_rows(36)
PLAN = Plan(36, 8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a conversion that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert convert(folder, ROWS) is not None
    return tree(folder)


def test_a_finished_folder_holds_shards_and_a_manifest(whole: dict[str, str]) -> None:
    assert sorted(whole) == [MANIFEST, *(f"units-{k:05d}.parquet" for k in range(5))]


def test_a_conversion_goes_on_where_it_stopped(tmp_path: Path, whole: dict[str, str]) -> None:
    assert convert(tmp_path, ROWS, limit=2) is None
    assert set(tree(tmp_path)) == {
        *("journal-00000-of-00001", "units-00000.parquet", "units-00001.parquet")
    }
    with Journal(tmp_path, FINGERPRINT, PLAN) as journal:
        assert journal.pending() == [2, 3, 4]
    assert convert(tmp_path, ROWS, limit=0) is None
    assert convert(tmp_path, ROWS) is not None
    assert tree(tmp_path) == whole
    assert not (tmp_path / ".tmp").exists()


def test_a_finished_conversion_is_left_alone(tmp_path: Path, whole: dict[str, str]) -> None:
    manifest = convert(tmp_path, ROWS)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert convert(tmp_path, ROWS) == manifest
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_shards_in_any_order_are_the_same_folder(tmp_path: Path, whole: dict[str, str]) -> None:
    with Journal(tmp_path, FINGERPRINT, PLAN) as journal:
        for k in (4, 0, 3, 1, 2):
            rows = ROWS[PLAN.rows(k).start : PLAN.rows(k).stop]
            journal.commit(write_shard(tmp_path, k, rows, journal.fingerprint))
        assert journal.finish() is not None
    assert tree(tmp_path) == whole


@pytest.mark.parametrize("parts", [2, 3, 5, 8])
def test_parts_make_the_same_folder(tmp_path: Path, whole: dict[str, str], parts: int) -> None:
    done = [convert(tmp_path, ROWS, part=(k, parts)) for k in reversed(range(parts))]
    assert [manifest is not None for manifest in done].count(True) >= 1
    assert tree(tmp_path) == whole


def test_parts_side_by_side_and_another_division_later(
    tmp_path: Path, whole: dict[str, str]
) -> None:
    with (
        Journal(tmp_path, FINGERPRINT, PLAN, part=(0, 3)) as first,
        Journal(tmp_path, FINGERPRINT, PLAN, part=(2, 3)) as last,
    ):
        assert first.pending() == [0]
        assert last.pending() == [3, 4]
        first.commit(write_shard(tmp_path, 0, ROWS[:8], first.fingerprint))
        last.commit(write_shard(tmp_path, 4, ROWS[32:], last.fingerprint))
        assert first.finish() is None
    with Journal(tmp_path, FINGERPRINT, PLAN, part=(1, 2)) as other:
        assert other.pending() == [2, 3]
    assert convert(tmp_path, ROWS) is not None
    assert tree(tmp_path) == whole


def test_another_part_may_finish_first(tmp_path: Path, whole: dict[str, str]) -> None:
    with Journal(tmp_path, FINGERPRINT, PLAN, part=(0, 2)) as first:
        for k in first.pending():
            rows = ROWS[PLAN.rows(k).start : PLAN.rows(k).stop]
            first.commit(write_shard(tmp_path, k, rows, first.fingerprint))
        assert convert(tmp_path, ROWS, part=(1, 2)) is not None
        assert journal_names(tmp_path) == []
        assert first.finish() is not None
    assert tree(tmp_path) == whole


def test_a_journal_may_vanish_between_two_calls(tmp_path: Path, whole: dict[str, str]) -> None:
    class Stale(QuickStorage):
        def listdir(self, folder: Path) -> list[str]:
            return [*super().listdir(folder), *self.gone.pop(folder, [])]

    convert(tmp_path, ROWS)
    disk = Stale()
    disk.gone = {tmp_path: ["journal-00001-of-00002"]}
    with Journal(tmp_path, FINGERPRINT, PLAN, storage=disk) as journal:
        assert disk.gone == {}
        assert journal.pending() == []


def test_no_rows_are_a_conversion_too(tmp_path: Path) -> None:
    assert convert(tmp_path, []) is not None
    assert list(tree(tmp_path)) == [MANIFEST]
    assert list(open_shards(tmp_path)) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is taken is not waited for."""
    monkeypatch.setattr(journal_module, "_PATIENCE", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_second_run_is_refused_by_process_and_host(tmp_path: Path) -> None:
    with Journal(tmp_path, FINGERPRINT, PLAN):
        for part in [(0, 1), (0, 2), (7, 16)]:
            with pytest.raises(LockedError, match=rf"in use by process {os.getpid()} on \S+"):
                Journal(tmp_path, FINGERPRINT, PLAN, part=part)
    Journal(tmp_path, FINGERPRINT, PLAN).close()


def test_a_lock_that_is_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    holder = Journal(tmp_path, FINGERPRINT, PLAN)
    threading.Timer(0.1, holder.close).start()
    Journal(tmp_path, FINGERPRINT, PLAN).close()


@pytest.mark.usefixtures("impatient")
def test_the_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, sys; from spire_dsu.journal import Journal, Plan\n"
        f"journal = Journal(sys.argv[1], {FINGERPRINT!r}, Plan(36, 8))\n"
        "(journal.scratch / 'units-00000.parquet.host.1').write_bytes(b'half')\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"locked\n"
    with pytest.raises(LockedError, match=f"process {child.pid} "):
        Journal(tmp_path, FINGERPRINT, PLAN)
    child.kill()
    child.communicate()
    assert (tmp_path / ".tmp" / "00000-of-00001" / "units-00000.parquet.host.1").exists()
    with Journal(tmp_path, FINGERPRINT, PLAN) as journal:
        assert DISK.listdir(journal.scratch) == ["lock"]
    assert not (tmp_path / ".tmp").exists()


def test_what_a_dead_part_left_is_cleared_by_any_other(tmp_path: Path) -> None:
    left = tmp_path / ".tmp" / "00003-of-00016"
    left.mkdir(parents=True)
    (left / "lock").write_text("process 1 on elsewhere")
    (left / "units-00000.parquet.elsewhere.1").touch()
    with Journal(tmp_path, FINGERPRINT, PLAN) as journal:
        assert DISK.listdir(tmp_path / ".tmp") == [journal.scratch.name]


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(fd: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("spire_dsu.locking.try_lock", no_locks)
    with caplog.at_level(logging.WARNING):
        convert(tmp_path, ROWS)
    assert "make sure that no second run uses the folder" in caplog.text


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_by_name(tmp_path: Path, finished: bool) -> None:
    convert(tmp_path, ROWS, limit=None if finished else 1)
    before = tree(tmp_path)
    other = {"num_clusters": 50, "model": {"name": "tiny", "layer": 3}, "eps": 1e-5}
    with pytest.raises(FingerprintError) as error:
        convert(tmp_path, ROWS, fingerprint=other)
    assert "eps was None, is 1e-05; model.layer was 2, is 3. Use" in str(error.value)
    with pytest.raises(FingerprintError, match="rows_per_shard was 8, is 9"):
        convert(tmp_path, ROWS, rows_per_shard=9)
    with pytest.raises(FingerprintError, match="num_rows was 36, is 35"):
        convert(tmp_path, ROWS[:-1])
    assert tree(tmp_path) == before


def test_a_fingerprint_is_json(tmp_path: Path) -> None:
    for bad in (float("nan"), object(), {1, 2}):
        with pytest.raises(JournalError, match="no JSON"):
            convert(tmp_path / "out", ROWS, fingerprint={**FINGERPRINT, "bad": bad})
    convert(tmp_path, ROWS, fingerprint={**FINGERPRINT, "size": (1, 2)})
    assert convert(tmp_path, ROWS, fingerprint={**FINGERPRINT, "size": [1, 2]}) is not None


def test_a_torn_tail_is_cut_off_and_never_appended_to(
    tmp_path: Path, whole: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    convert(tmp_path / "x", ROWS, limit=2)
    journal = tmp_path / "x" / "journal-00000-of-00001"
    data = journal.read_bytes()
    last = len(data.splitlines(keepends=True)[-1])
    for cut in (1, 2, last // 2, last - 1, last):
        folder = tmp_path / str(cut)
        convert(folder, ROWS, limit=2)
        (folder / journal.name).write_bytes(data[:-cut])
        with Journal(folder, FINGERPRINT, PLAN) as opened:
            assert opened.pending() == [1, 2, 3, 4]
            good = (folder / journal.name).read_bytes()
            assert good == data[: len(data) - last]
        convert(folder, ROWS)
        assert tree(folder) == whole
    assert "damaged lines dropped" in caplog.text


def test_a_damaged_line_counts_as_never_written(tmp_path: Path, whole: dict[str, str]) -> None:
    convert(tmp_path, ROWS, limit=3)
    journal = tmp_path / "journal-00000-of-00001"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(
        b"".join([*lines[:2], lines[2].replace(b'"rows": 8', b'"rows": 7'), lines[3]])
    )
    with Journal(tmp_path, FINGERPRINT, PLAN) as opened:
        assert opened.pending() == [1, 3, 4]
    convert(tmp_path, ROWS)
    assert tree(tmp_path) == whole


@pytest.mark.parametrize("data", [b"", b"\n", b"00000000 00000000 \n", b"x" * 200])
def test_a_journal_without_its_first_line_is_refused(tmp_path: Path, data: bytes) -> None:
    convert(tmp_path, ROWS, limit=1)
    (tmp_path / "journal-00000-of-00001").write_bytes(data)
    with pytest.raises(JournalError, match="first line is damaged"):
        convert(tmp_path, ROWS)


def test_every_flipped_bit_of_a_journal_is_found(tmp_path: Path) -> None:
    convert(tmp_path, ROWS, limit=2)
    data = (tmp_path / "journal-00000-of-00001").read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            bad = bytearray(data)
            bad[place] ^= 1 << bit
            try:
                assert parse_journal(bytes(bad), "journal")[2] != bytes(bad)
            except JournalError:
                continue


@pytest.mark.parametrize("finished", [True, False])
def test_a_committed_shard_that_is_gone_is_made_again(
    tmp_path: Path, whole: dict[str, str], finished: bool, caplog: pytest.LogCaptureFixture
) -> None:
    convert(tmp_path, ROWS, limit=None if finished else 3)
    (tmp_path / "units-00001.parquet").unlink()
    (tmp_path / "units-00002.parquet").write_bytes(b"cut")
    with Journal(tmp_path, FINGERPRINT, PLAN) as journal:
        assert journal.pending()[:2] == [1, 2]
    assert "units-00001.parquet was committed but is gone or cut" in caplog.text
    convert(tmp_path, ROWS)
    assert tree(tmp_path) == whole


def test_a_shard_that_comes_out_otherwise_is_refused(tmp_path: Path) -> None:
    convert(tmp_path, ROWS)
    (tmp_path / "units-00001.parquet").unlink()
    changed = [*ROWS[:8], *reversed(ROWS[8:16]), *ROWS[16:]]
    with pytest.raises(JournalError, match=r"units-00001\.parquet was committed with digest"):
        convert(tmp_path, changed)
    with Journal(tmp_path / "new", FINGERPRINT, PLAN) as journal:
        info = write_shard(tmp_path / "new", 0, ROWS[:8], journal.fingerprint)
        journal.commit(info)
        journal.commit(info)
        with pytest.raises(JournalError, match="do not make the same bytes"):
            journal.commit(info.model_copy(update={"sha256": "0" * 64}))


def test_only_what_is_planned_is_committed(tmp_path: Path) -> None:
    with Journal(tmp_path, FINGERPRINT, PLAN, part=(0, 2)) as journal:
        good = write_shard(tmp_path, 0, ROWS[:8], journal.fingerprint)
        short = write_shard(tmp_path, 1, ROWS[:7], journal.fingerprint)
        foreign = write_shard(tmp_path, 3, ROWS[:8], journal.fingerprint)
        for info in (short, foreign):
            with pytest.raises(JournalError, match="not planned"):
                journal.commit(info)
        journal.commit(good)
    with pytest.raises(JournalError, match="closed"):
        journal.commit(good)


def test_nothing_is_appended_after_a_failed_append(tmp_path: Path) -> None:
    class FullOnce(Storage):
        full = False

        def write(self, fd: int, data: memoryview | bytes) -> int:
            if self.full:
                self.full = False
                super().write(fd, memoryview(data)[:20])
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(fd, data)

    disk = FullOnce()
    with Journal(tmp_path, FINGERPRINT, PLAN, storage=disk) as journal:
        info = write_shard(tmp_path, 0, ROWS[:8], journal.fingerprint)
        disk.full = True
        with pytest.raises(OSError, match="No space"):
            journal.commit(info)
        assert journal.pending() == [0, 1, 2, 3, 4]
        with pytest.raises(JournalError, match="broken by an earlier error"):
            journal.commit(info)
    with Journal(tmp_path, FINGERPRINT, PLAN) as journal:
        journal.commit(info)
    with Journal(tmp_path, FINGERPRINT, PLAN) as journal:
        assert journal.pending() == [1, 2, 3, 4]


def test_the_plan_covers_each_row_once() -> None:
    for num_rows in (0, 1, 7, 8, 9, 100):
        plan = Plan(num_rows, 8)
        assert [row for k in range(plan.num_shards) for row in plan.rows(k)] == list(
            range(num_rows)
        )
        for parts in (1, 2, 3, 16):
            shards = [shard for k in range(parts) for shard in plan.part(k, parts)]
            assert shards == list(range(plan.num_shards))


@pytest.mark.parametrize("part", [(1, 1), (-1, 2), (0, 0), (2, 2), (0, 100_000)])
def test_a_part_that_does_not_exist_is_refused(tmp_path: Path, part: tuple[int, int]) -> None:
    with pytest.raises(JournalError, match="does not exist"):
        convert(tmp_path, ROWS, part=part)
    with pytest.raises(JournalError, match="no plan"):
        Plan(-1, 8)
    with pytest.raises(JournalError, match="no plan"):
        Plan(1, 0)


def test_the_lines_of_a_journal_are_framed(tmp_path: Path) -> None:
    convert(tmp_path, ROWS, limit=2)
    data = (tmp_path / "journal-00000-of-00001").read_bytes()
    header, infos, good = parse_journal(data, "journal")
    assert good == data == b"".join([frame(header), *map(frame, infos)])
    assert [info.index for info in infos] == [0, 1]
    for line in data.splitlines():
        length, _, text = line.split(b" ", 2)
        assert int(length, 16) == len(text)
        json.loads(text)


def test_the_errors_are_value_errors() -> None:
    for kind in (JournalError, FingerprintError, LockedError):
        assert issubclass(kind, SpireError)
