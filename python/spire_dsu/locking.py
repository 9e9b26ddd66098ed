"""A folder that one process at a time may work in, on one machine or on several."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from pathlib import Path

from spire_dsu.errors import SpireError
from spire_dsu.storage import Storage, is_at, try_lock

LOCK = "lock"
_LOG = logging.getLogger(__name__)


class LockedError(SpireError):
    """Another run works in the same folder; the text names its process and host."""


def lock_folder(folder: Path, storage: Storage, *, patience: float = 0.0) -> int:
    """Makes a folder and locks it against other processes.

    Args:
        folder: the folder; it holds nothing but temporary files.
        storage: the calls to use.
        patience: seconds to try again, where another process may hold the lock for a moment only.

    Returns:
        A descriptor that holds the lock until it is closed or the process ends.

    Raises:
        LockedError: another process has it.
        OSError: the folder cannot be made.
    """
    path, deadline = folder / LOCK, time.monotonic() + patience
    for last in reversed(range(100)):
        try:
            storage.make_dir(folder)
            fd = storage.open(path, os.O_RDWR | os.O_CREAT)
        except (FileNotFoundError, FileExistsError):
            if not last:
                raise
            continue  # its owner finished and removed the folder in the middle of these calls
        try:
            while not (taken := _take(fd, path)) and time.monotonic() < deadline:
                time.sleep(0.02)
            if not taken:
                owner = os.pread(fd, 300, 0).decode(errors="replace") or "another process"
                raise LockedError(f"{folder.parent.parent} is in use by {owner} ({folder.name})")
            if is_at(fd, path):
                owner = f"process {os.getpid()} on {socket.gethostname()}"
                os.pwrite(fd, owner.encode(), 0)
                os.ftruncate(fd, len(owner.encode()))
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its owner finished and removed it before this process had the lock
    raise LockedError(f"{folder}: other runs come and go all the time")


def _take(fd: int, path: Path) -> bool:
    try:
        return try_lock(fd)
    except OSError as error:
        _LOG.warning(
            "%s: this file system has no locks (%s); make sure that no second run uses the folder",
            path,
            error.strerror,
        )
        return True


def remove_folder(folder: Path, lock: int, storage: Storage) -> None:
    """Removes a locked folder with its files, the lock last, and the folder above when it is empty.

    Args:
        folder: what `lock_folder` locked.
        lock: what it returned; still to be closed afterwards.
        storage: the calls to use.
    """
    if not is_at(lock, folder / LOCK):
        return  # removed before; what is there now is another run's
    names = storage.listdir(folder)
    for name in sorted(names, key=lambda name: name == LOCK):
        storage.remove(folder / name)
    for empty in (folder, folder.parent):
        try:
            storage.remove(empty)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return  # another run has just come
