"""The few calls through which everything durable goes; a test can make any one of them fail.

A file is written beside its place, forced to disk, renamed, and its folder forced to disk: whatever
is killed and whenever, a name either holds the whole file or does not exist. What a failed call
leaves behind is a temporary file at most.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import shutil
import stat
from pathlib import Path
from types import TracebackType

_BUFFER = 1 << 20


class Storage:
    """The operating system's calls, one method each; a test's subclass fails at will."""

    def open(self, path: Path, flags: int) -> int:
        """Opens or makes a file; returns its descriptor, which child programs do not inherit."""
        return os.open(path, flags | os.O_CLOEXEC, 0o666)

    def write(self, fd: int, data: memoryview | bytes) -> int:
        """Writes some of `data`, as the system pleases; returns how many bytes."""
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        """Forces a file's bytes to disk."""
        os.fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Gives a file its name, in place of what had it before."""
        source.replace(target)

    def fsync_dir(self, folder: Path) -> None:
        """Forces the names in a folder to disk: a rename is data of the folder, not of the file."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, path: Path) -> bytes:
        """The whole of a file."""
        return path.read_bytes()

    def remove(self, path: Path) -> None:
        """Removes a file or an empty folder; one that is already gone is no error."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(path.lstat().st_mode):
                path.rmdir()
            else:
                path.unlink()

    def listdir(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; none where there is no folder."""
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208  (names, not paths)
        except FileNotFoundError:
            return []

    def make_dir(self, folder: Path) -> None:
        """Makes a folder and those above it, as far as they are missing."""
        folder.mkdir(parents=True, exist_ok=True)


DISK = Storage()


def write_all(storage: Storage, fd: int, data: memoryview | bytes) -> None:
    """Writes the whole of `data`; a nearly full disk, or a signal, makes a single write short."""
    view = memoryview(data).cast("B")
    while view:
        written = storage.write(fd, view)
        if written <= 0:
            raise OSError(errno.EIO, f"a write of {len(view)} bytes wrote {written}")
        view = view[written:]


def try_lock(fd: int) -> bool:
    """Takes the exclusive lock of an open file; False where another process holds it.

    The lock ends with the process, however that ends.

    Raises:
        OSError: the file system has no locks (ENOLCK, ENOSYS or ENOTSUP).
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(fd: int, path: Path) -> bool:
    """Whether an open file still has this name.

    Between opening a file and locking it, the one who held the lock may have renamed or removed it.
    """
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)


class AtomicFile(io.RawIOBase):
    """A file that gets its name, whole and durable, only when the `with` block ends well.

    Attributes:
        path: the name that it will have.
        size: bytes written so far.
    """

    def __init__(
        self, path: Path, *, temporary: Path | None = None, storage: Storage = DISK
    ) -> None:
        """Opens the temporary file.

        Args:
            path: the file to make or replace; its folder must exist.
            temporary: where the bytes go first, a name that no one else uses, on the same file
                system; by default ".NAME.tmp" beside the file, with a lock, which a later try
                overwrites.
            storage: the calls to use.

        Raises:
            OSError: the temporary file cannot be made, or another process is writing the same file.
        """
        self.path = path
        self.size = 0
        self._storage = storage
        self._temporary = temporary or path.with_name(f".{path.name}.tmp")
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._fd = storage.open(self._temporary, os.O_WRONLY | os.O_CREAT)
        try:
            if temporary is None and not (try_lock(self._fd) and is_at(self._fd, self._temporary)):
                raise OSError(errno.EBUSY, "another process is writing this file", str(path))
            if os.fstat(self._fd).st_size:  # of a new file it costs time: ext4 flushes at its close
                os.ftruncate(self._fd, 0)
        except BaseException:
            os.close(self._fd)
            raise

    def writable(self) -> bool:
        """True: for those who take any file."""
        return True

    def write(self, data: object) -> int:
        """Adds bytes (anything with a buffer); returns how many."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._digest.update(view)
        self.size += len(view)
        if len(self._buffer) + len(view) > _BUFFER:
            self._drain()
        if len(view) > _BUFFER:
            write_all(self._storage, self._fd, view)
        else:
            self._buffer += view
        return len(view)

    @property
    def sha256(self) -> str:
        """Digest of the bytes written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def _drain(self) -> None:
        # Emptied first: after a failed write no byte of it may be written a second time.
        data, self._buffer = bytes(self._buffer), bytearray()
        if data:
            write_all(self._storage, self._fd, data)

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._drain()
                self._storage.fsync(self._fd)
                self._storage.rename(self._temporary, self.path)
                self._storage.fsync_dir(self.path.parent)
        except BaseException:
            self._discard()
            raise
        finally:
            os.close(self._fd)
            self._fd = -1  # a late write must fail, not reach the file that has the number next
        if kind is not None:
            self._discard()

    def _discard(self) -> None:
        # The first error is the one to tell; what stays is overwritten or removed later.
        with contextlib.suppress(OSError):
            self._storage.remove(self._temporary)


def write_file(
    path: Path, data: bytes, *, temporary: Path | None = None, storage: Storage = DISK
) -> None:
    """Writes a whole file atomically and durably; see `AtomicFile`."""
    with AtomicFile(path, temporary=temporary, storage=storage) as file:
        file.write(data)


def explain(error: OSError, folder: Path) -> str:
    """An I/O error in words for a person, with the free space where that is the cause."""
    what = error.strerror or str(error)
    where = error.filename or folder
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(folder).free / 1e6
        return (
            f"{where}: {what} ({free:,.1f} MB free); what is committed is safe, make room and run "
            "the same command again"
        )
    return f"{where}: {what}"
