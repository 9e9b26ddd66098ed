"""A disk that fails at the n-th call, in a way of one's choice."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from spire_dsu.storage import Storage

FAULTS = ("kill", "EIO", "ENOSPC", "EROFS", "EINTR", "short write")
CALLS = ("open", "write", "fsync", "rename", "fsync_dir", "read", "remove", "listdir", "make_dir")


class FaultyStorage(Storage):
    """Counts the calls and fails at one of them.

    A write that fails has written its first half, which is what makes a torn line. Nothing is
    forced to disk: a process that dies takes nothing of the operating system's memory with it.

    Attributes:
        steps: the calls so far, by name.
    """

    def __init__(self, step: int = -1, fault: str = "") -> None:
        self.steps: list[str] = []
        self._step = step
        self._fault = fault

    def _fail(self) -> None:
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self._fault)
        raise OSError(code, os.strerror(code))

    def _run(self, name: str, call: Callable[[], object]) -> object:
        self.steps.append(name)
        if len(self.steps) - 1 == self._step and self._fault != "short write":
            self._fail()
        return call()

    def write(self, fd: int, data: memoryview | bytes) -> int:
        self.steps.append("write")
        if len(self.steps) - 1 == self._step:
            written = os.write(fd, memoryview(data)[: len(data) // 2])
            if self._fault != "short write":
                self._fail()
            return written
        return super().write(fd, data)

    def open(self, path: Path, flags: int) -> int:
        return self._run("open", lambda: Storage.open(self, path, flags))

    def fsync(self, fd: int) -> None:
        self._run("fsync", lambda: None)

    def rename(self, source: Path, target: Path) -> None:
        self._run("rename", lambda: Storage.rename(self, source, target))

    def fsync_dir(self, folder: Path) -> None:
        self._run("fsync_dir", lambda: None)

    def read(self, path: Path) -> bytes:
        return self._run("read", lambda: Storage.read(self, path))

    def remove(self, path: Path) -> None:
        self._run("remove", lambda: Storage.remove(self, path))

    def listdir(self, folder: Path) -> list[str]:
        return self._run("listdir", lambda: Storage.listdir(self, folder))

    def make_dir(self, folder: Path) -> None:
        self._run("make_dir", lambda: Storage.make_dir(self, folder))
