"""Every call to the disk fails once in every way; what comes out in the end is always the same."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.failpoints import CALLS, FAULTS, FaultyStorage
from faults.job import ROWS, ROWS_PER_SHARD
from unit_rows import convert, tree

from spire_dsu.journal import Journal
from spire_dsu.verify import verify

Job = Callable[..., Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[str]]:
    """The files of a conversion that nothing disturbed, and the calls that it made."""
    folder, disk = tmp_path_factory.mktemp("whole") / "out", FaultyStorage()
    assert convert(folder, ROWS, ROWS_PER_SHARD, storage=disk) is not None
    return tree(folder), disk.steps


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, job: Job) -> tuple[Path, list[str]]:
    """A conversion that was killed inside of a journal line, and the calls that finishing it
    takes."""
    folder = tmp_path_factory.mktemp("interrupted")
    clean = FaultyStorage()
    convert(folder / "clean", ROWS, ROWS_PER_SHARD, storage=clean)
    lines = [k for k, call in enumerate(clean.steps) if call == "write"]
    assert job(folder / "torn", step=lines[4], fault="kill") == -signal.SIGKILL
    assert (folder / "torn" / "units-00001.parquet").exists()
    journal = (folder / "torn" / "journal-00000-of-00001").read_bytes()
    assert journal.count(b"\n") == 2
    assert not journal.endswith(b"\n")
    shutil.copytree(folder / "torn", folder / "copy")
    disk = FaultyStorage()
    convert(folder / "copy", ROWS, ROWS_PER_SHARD, storage=disk)
    return folder / "torn", disk.steps


def finish_and_compare(folder: Path, whole: dict[str, str]) -> None:
    """The next run, on a good disk, makes what was to be made and leaves nothing else."""
    assert convert(folder, ROWS, ROWS_PER_SHARD, storage=FaultyStorage()) is not None
    assert tree(folder) == whole
    assert [path.name for path in sorted(folder.iterdir())] == sorted(whole)


def fail_at_each_step(
    start: Path | None, steps: list[str], fault: str, whole: dict[str, str], work: Path, job: Job
) -> int:
    """Runs with a fault at step 0, 1, 2, ...; returns how many runs it disturbed."""
    disturbed = 0
    for step, call in enumerate(steps):
        folder = work / f"{step}-{call}"
        if start is not None:
            shutil.copytree(start, folder)
        status = job(folder, step=step, fault=fault)
        expected = {"kill": (-signal.SIGKILL,), "short write": (0,)}.get(fault, (0, 3))
        assert status in expected, f"{fault} at step {step} ({call}) ended with {status}"
        disturbed += status != 0
        if status == 0:  # success was reported, so all must be there already
            assert tree(folder) == whole, f"{fault} at step {step} ({call})"
        finish_and_compare(folder, whole)
        shutil.rmtree(folder)
    return disturbed


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_step_costs_nothing(
    tmp_path: Path, whole: tuple[dict[str, str], list[str]], job: Job, fault: str
) -> None:
    files, steps = whole
    assert set(steps) == set(CALLS)
    disturbed = fail_at_each_step(None, steps, fault, files, tmp_path, job)
    if fault == "short write":
        assert disturbed == 0
    elif fault == "kill":
        assert disturbed == len(steps)
    else:
        assert disturbed > len(steps) * 0.9  # the rest is tidying up, which may fail quietly


@pytest.mark.parametrize("fault", ["kill", "EIO"])
def test_a_fault_while_going_on_after_a_kill_costs_nothing(
    tmp_path: Path,
    whole: tuple[dict[str, str], list[str]],
    interrupted: tuple[Path, list[str]],
    job: Job,
    fault: str,
) -> None:
    folder, steps = interrupted
    assert fail_at_each_step(folder, steps, fault, whole[0], tmp_path, job) > 0.9 * len(steps)


def test_a_signal_in_every_millisecond_is_no_fault(
    tmp_path: Path, whole: tuple[dict[str, str], list[str]]
) -> None:
    beats = 0

    def beat(*_: object) -> None:
        nonlocal beats
        beats += 1

    old = signal.signal(signal.SIGALRM, beat)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for turn in range(3):
            assert convert(tmp_path / str(turn), ROWS, ROWS_PER_SHARD) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert beats > 0
    assert all(tree(tmp_path / str(turn)) == whole[0] for turn in range(3))


def test_verify_says_what_a_failing_disk_does_not_give(tmp_path: Path) -> None:
    convert(tmp_path, ROWS, ROWS_PER_SHARD)
    clean = FaultyStorage()
    assert verify(tmp_path, threads=1, storage=clean).ok
    reads = [k for k, call in enumerate(clean.steps) if call == "read"]
    for step in reads:
        found = verify(tmp_path, threads=1, storage=FaultyStorage(step, "EIO"))
        assert len(found.problems) == 1
        assert "Input/output error" in str(found.problems[0])


def test_an_open_journal_keeps_no_descriptor_after_any_fault(tmp_path: Path) -> None:
    clean = FaultyStorage()
    convert(tmp_path / "clean", ROWS, ROWS_PER_SHARD, storage=clean)
    before = sorted(Path("/proc/self/fd").iterdir())
    for step in range(len(clean.steps)):
        disk = FaultyStorage(step, "EIO")
        try:
            convert(tmp_path / str(step), ROWS, ROWS_PER_SHARD, storage=disk)
        except OSError:
            continue
    assert len(sorted(Path("/proc/self/fd").iterdir())) == len(before)
    assert Journal.__doc__
