"""A name holds the whole file or nothing, whatever fails."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spire_dsu.storage import DISK, AtomicFile, Storage, explain, try_lock, write_all, write_file


def test_a_file_is_there_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with AtomicFile(path) as file:
        file.write(b"one")
        file.write(memoryview(b"two"))
        assert not path.exists()
    assert path.read_bytes() == b"onetwo"
    assert DISK.listdir(tmp_path) == ["a"]
    assert file.size == 6
    assert file.sha256 == hashlib.sha256(b"onetwo").hexdigest()


def test_large_and_small_writes_keep_their_order(tmp_path: Path) -> None:
    parts = [b"a" * 10, b"b" * (3 << 20), b"c" * 5, b"d" * (1 << 20), b"e"]
    with AtomicFile(tmp_path / "a") as file:
        for part in parts:
            file.write(part)
    assert (tmp_path / "a").read_bytes() == b"".join(parts)


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"old")
    with contextlib.suppress(RuntimeError), AtomicFile(tmp_path / "a") as file:
        file.write(b"new")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert DISK.listdir(tmp_path) == ["a"]


def test_a_failing_fsync_leaves_what_was_there(tmp_path: Path) -> None:
    class NoSync(Storage):
        def fsync(self, fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

    write_file(tmp_path / "a", b"old")
    with pytest.raises(OSError, match="Input/output error"):
        write_file(tmp_path / "a", b"new", storage=NoSync())
    assert (tmp_path / "a").read_bytes() == b"old"
    assert DISK.listdir(tmp_path) == ["a"]


def test_a_file_that_is_done_takes_no_more(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "a") as file:
        file.write(b"x")
    file.write(b"y")
    with pytest.raises(OSError, match="Bad file descriptor"):
        file._drain()
    assert (tmp_path / "a").read_bytes() == b"x"


def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").write_bytes(b"left by a killed run, longer than the new content")
    write_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert DISK.listdir(tmp_path) == ["a"]


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    fd = os.open(tmp_path / ".a.tmp", os.O_WRONLY | os.O_CREAT)
    assert try_lock(fd)
    with pytest.raises(OSError, match="another process is writing this file"):
        write_file(tmp_path / "a", b"new")
    os.close(fd)
    write_file(tmp_path / "a", b"new")


class ShortWrites(Storage):
    def write(self, fd: int, data: memoryview | bytes) -> int:
        return super().write(fd, memoryview(data)[:7])


class NoProgress(Storage):
    def write(self, fd: int, data: memoryview | bytes) -> int:
        return 0


def test_short_writes_lose_nothing(tmp_path: Path) -> None:
    data = bytes(range(256)) * 3
    write_file(tmp_path / "a", data, storage=ShortWrites())
    assert (tmp_path / "a").read_bytes() == data


def test_a_write_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="wrote 0"):
        write_all(NoProgress(), fd, b"abc")
    os.close(fd)


def test_the_order_is_write_fsync_rename_fsync_of_the_folder(tmp_path: Path) -> None:
    calls: list[str] = []

    class Recorder(Storage):
        def __getattribute__(self, name: str) -> object:
            if not name.startswith("_"):
                calls.append(name)
            return super().__getattribute__(name)

    write_file(tmp_path / "a", b"x", storage=Recorder())
    assert calls == ["open", "write", "fsync", "rename", "fsync_dir"]


def test_files_obey_the_umask_and_are_not_inherited(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_file(tmp_path / "a", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    fd = DISK.open(tmp_path / "a", os.O_RDONLY)
    check = f"import os; os.fstat({fd})"
    child = subprocess.run([sys.executable, "-c", check], capture_output=True, close_fds=False)
    os.close(fd)
    assert b"Bad file descriptor" in child.stderr


def test_remove_takes_files_empty_folders_and_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name in ("folder", "file", "gone"):
        DISK.remove(tmp_path / name)
    assert DISK.listdir(tmp_path) == []
    assert DISK.listdir(tmp_path / "gone") == []


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "MB free" in explain(full, tmp_path)
    assert "run the same command again" in explain(full, tmp_path)
    assert (
        explain(OSError(errno.EIO, "Input/output error", "x"), tmp_path) == "x: Input/output error"
    )
