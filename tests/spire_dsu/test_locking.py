"""A folder is one process's, also when processes come and go at the worst moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from unit_rows import QuickStorage

from spire_dsu.locking import LOCK, LockedError, lock_folder, remove_folder


class Disturbed(QuickStorage):
    """Does something else right before or after a call, the first `times` times."""

    def __init__(self, times: int, *, before: str = "", after: str = "", do: Callable[[], None]):
        self.times, self.before, self.after, self.do = times, before, after, do

    def _maybe(self, name: str, wanted: str) -> None:
        if name == wanted and self.times > 0:
            self.times -= 1
            self.do()

    def open(self, path: Path, flags: int) -> int:
        self._maybe("open", self.before)
        fd = super().open(path, flags)
        self._maybe("open", self.after)
        return fd

    def remove(self, path: Path) -> None:
        self._maybe(f"remove {path.name}", self.before)
        super().remove(path)


def test_one_at_a_time(tmp_path: Path) -> None:
    disk = QuickStorage()
    lock = lock_folder(tmp_path / "out" / "tmp" / "part", disk)
    with pytest.raises(
        LockedError, match=rf"out is in use by process {os.getpid()} on \S+ \(part\)"
    ):
        lock_folder(tmp_path / "out" / "tmp" / "part", disk)
    remove_folder(tmp_path / "out" / "tmp" / "part", lock, disk)
    assert disk.listdir(tmp_path / "out") == []
    os.close(lock)


def test_the_owner_may_go_between_any_two_calls(tmp_path: Path) -> None:
    folder = tmp_path / "tmp" / "part"

    def vanish() -> None:
        for path in (folder / LOCK, folder):
            QuickStorage().remove(path)

    for disk in (Disturbed(3, before="open", do=vanish), Disturbed(3, after="open", do=vanish)):
        lock = lock_folder(folder, disk)
        assert disk.times == 0
        with pytest.raises(LockedError):
            lock_folder(folder, QuickStorage())
        remove_folder(folder, lock, disk)
        os.close(lock)
    with pytest.raises(LockedError, match="come and go all the time"):
        lock_folder(folder, Disturbed(10**6, after="open", do=vanish))
    with pytest.raises(FileNotFoundError):
        lock_folder(folder, Disturbed(10**6, before="open", do=vanish))


def test_what_another_run_made_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder, others = tmp_path / "tmp" / "part", []
    disk = Disturbed(
        1, before="remove part", do=lambda: others.append(lock_folder(folder, QuickStorage()))
    )
    lock = lock_folder(folder, disk)
    remove_folder(folder, lock, disk)
    assert disk.listdir(folder) == [LOCK]
    remove_folder(folder, lock, disk)
    assert disk.listdir(folder) == [LOCK]
    for fd in (lock, *others):
        os.close(fd)


def test_a_folder_that_cannot_be_removed_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "tmp" / "part"
    lock = lock_folder(folder, QuickStorage())

    def fail() -> None:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(PermissionError):
        remove_folder(folder, lock, Disturbed(1, before="remove part", do=fail))
    os.close(lock)
