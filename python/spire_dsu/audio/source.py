"""Opens what the user named, without ever blocking: a path, bytes or a readable object become one
descriptor.

Everything after this reads by `pread` or hands the descriptor to a decoder, so that a file, bytes
from a table and a member of an archive take one way and give one answer.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from spire_dsu.errors import AudioError, InputError, Reason

AudioSource = (
    str | os.PathLike[str] | os.PathLike[bytes] | bytes | bytearray | memoryview | IO[bytes]
)

MAX_STREAM_BYTES = 4 << 30
"""Bytes taken from a readable object before it is refused: an endless stream must not fill the
memory.
"""

_COPY_BYTES = 1 << 20
_MOST_SEARCHED = 1 << 32


@dataclass(frozen=True, slots=True)
class Source:
    """An open recording.

    Attributes:
        fd: descriptor of a regular file, readable and seekable.
        name: how messages call it; printable whatever bytes the path holds.
        size: bytes when it was opened.
        modified: time of the last change when it was opened, ns.
    """

    fd: int
    name: str
    size: int
    modified: int

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes [offset, offset + count), fewer only at the end of the file.

        A header may place something anywhere below 2^64; behind the end there is nothing.
        """
        parts: list[bytes] = []
        count = min(count, self.size - offset)
        while count > 0:
            part = os.pread(self.fd, count, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return b"".join(parts)

    def windows(self, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) from `start` to `end` or the file's, never more than 1 MiB in memory."""
        end = self.size if end is None else end
        while part := self.read_at(start, min(_COPY_BYTES, end - start)):
            yield start, part
            start += len(part)

    def copy(self, start: int, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to `end` or the file's, in parts."""
        return (part for _, part in self.windows(start, end))

    def find(self, start: int, *patterns: bytes) -> int | None:
        """The first byte from `start` on where one of the patterns begins, None where none does.

        A sparse file can be of any size: 4 GiB are searched, as much as a RIFF file can hold.
        """
        overlap = max(map(len, patterns)) - 1
        held = b""
        for at, part in self.windows(start, min(self.size, start + _MOST_SEARCHED)):
            held += part
            found = [place for place in map(held.find, patterns) if place >= 0]
            if found:
                return at - (len(held) - len(part)) + min(found)
            held = held[-overlap:] if overlap else b""
        return None

    def error(self, reason: Reason, text: str) -> AudioError:
        """An error that names this recording."""
        return AudioError(reason, f"{self.name}: {text}")

    def check_unchanged(self) -> None:
        """Raises AudioError when somebody wrote to the file while it was read."""
        now = os.fstat(self.fd)
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified):
            raise self.error(
                Reason.DECODE_ERROR,
                f"changed while it was read: {self.size} bytes before, {now.st_size} after",
            )


@contextlib.contextmanager
def open_source(source: AudioSource) -> Iterator[Source]:
    """Opens a recording for reading.

    Args:
        source: a path; the content itself as bytes; or an object whose `read` gives bytes, read
            from its present position to its end. Plain `bytes` are always content; a path of odd
            bytes is `os.fsdecode(path)`.

    Raises:
        AudioError: MISSING for whatever is no readable regular file (nothing that could block is
            opened), TOO_LONG for a stream over `MAX_STREAM_BYTES`.
        InputError: no path, no bytes and nothing to read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source)
        flat = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        opened = spool(iter((flat,)), f"<{view.nbytes} bytes>")
    elif isinstance(source, (str, os.PathLike)):
        opened = _open_path(os.fspath(source))
    elif callable(getattr(source, "read", None)):
        name = getattr(source, "name", None)
        opened = spool(
            _parts(source), printable(name) if isinstance(name, (str, bytes)) else "<stream>"
        )
    else:
        raise InputError(
            f"audio must be a path, bytes or a readable object, got {type(source).__name__}"
        )
    try:
        yield opened
    finally:
        os.close(opened.fd)


def printable(path: str | bytes) -> str:
    """A path in quotes, on one line and free of control characters; bytes that are no UTF-8 are
    escaped.
    """
    return repr(path if isinstance(path, str) else path.decode("utf-8", errors="backslashreplace"))


def _open_path(path: str | bytes) -> Source:
    name = printable(path)
    try:
        # A FIFO would block and a device may act on being opened: look first, and look again once
        # it is open.
        _require_regular(os.stat(path).st_mode, name)  # noqa: PTH116  # bytes, too
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, and our own errors
        if isinstance(error, AudioError):
            raise
        raise AudioError(Reason.MISSING, f"{name}: {_plain(error)}") from error
    try:
        facts = os.fstat(fd)
        _require_regular(facts.st_mode, name)
    except BaseException:
        os.close(fd)
        raise
    return Source(fd, name, facts.st_size, facts.st_mtime_ns)


def _require_regular(mode: int, name: str) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise AudioError(Reason.MISSING, f"{name}: {kind}, not a regular file")


def _plain(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _parts(stream: Any) -> Iterator[memoryview]:
    while True:
        try:
            part = stream.read(_COPY_BYTES)
        except (
            Exception
        ) as error:  # the caller's own object: whatever it raises, there is no recording
            raise AudioError(Reason.MISSING, f"audio stream cannot be read: {error!r}") from error
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise InputError(
                f"audio stream gives {type(part).__name__}, not bytes; open it with mode 'rb'"
            )
        if not len(part):
            return
        yield memoryview(part).cast("B")


def spool(parts: Iterable[bytes | memoryview], name: str) -> Source:
    """Copies content into an anonymous file: decoders then read it without calling back into
    Python.
    """
    fd = _anonymous_file()
    try:
        size = 0
        for part in parts:
            size += len(part)
            if size > MAX_STREAM_BYTES:
                raise AudioError(
                    Reason.TOO_LONG, f"{name}: more than {MAX_STREAM_BYTES} bytes in one stream"
                )
            while part:
                part = part[os.write(fd, part) :]
        return Source(fd, name, size, os.fstat(fd).st_mtime_ns)
    except BaseException:
        os.close(fd)
        raise


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("spire_dsu_audio")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
