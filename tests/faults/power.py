"""What a disk may hold after the power went: only what was forced to it is sure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spire_dsu.storage import Storage


@dataclass
class Inode:
    """A file's bytes, and how many of them are sure to be on disk."""

    data: bytearray = field(default_factory=bytearray)
    synced: int = 0


@dataclass
class Name:
    """A change of a folder: `path` names `inode` from now on, or nothing."""

    path: Path
    inode: Inode | None


class Disk(Storage):
    """Does every call, and keeps beside it what a disk would be sure to hold.

    After each call it takes images of what the disk may hold if the power goes then: all that was
    forced, some of the names that were not, and some of the bytes that were not.

    Attributes:
        images: name -> bytes, one dictionary per image.
    """

    def __init__(self, root: Path, per_step: int, seed: int) -> None:
        self.images: list[dict[Path, bytes]] = []
        self._root = root
        self._per_step = per_step
        self._rng = np.random.default_rng(seed)
        self._sure: dict[Path, Inode] = {}  # names that were forced to disk
        self._now: dict[Path, Inode] = {}  # names as the running system sees them
        self._pending: list[Name] = []
        self._files: dict[int, Inode] = {}

    def _take_images(self) -> None:
        for _ in range(self._per_step):
            names = dict(self._sure)
            for change in self._pending:
                if self._rng.random() < 0.5:
                    if change.inode is None:
                        names.pop(change.path, None)
                    else:
                        names[change.path] = change.inode
            self.images.append({path: self._content(inode) for path, inode in names.items()})

    def _content(self, inode: Inode) -> bytes:
        """The sure bytes, a random part of the others, and sometimes zeros where bytes were to
        go."""
        loose = len(inode.data) - inode.synced
        kept = int(self._rng.integers(loose + 1))
        data = bytes(inode.data[: inode.synced + kept])
        if kept < loose and self._rng.random() < 0.3:
            data += bytes(int(self._rng.integers(loose - kept)))
        return data

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        relative = path.relative_to(self._root)
        if relative not in self._now:
            self._now[relative] = Inode()
            self._pending.append(Name(relative, self._now[relative]))
        self._files[fd] = self._now[relative]
        self._take_images()
        return fd

    def write(self, fd: int, data: memoryview | bytes) -> int:
        written = super().write(fd, data)
        self._files[fd].data += bytes(data[:written])
        self._take_images()
        return written

    def fsync(self, fd: int) -> None:
        self._files[fd].synced = len(self._files[fd].data)
        self._take_images()

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        old, new = source.relative_to(self._root), target.relative_to(self._root)
        inode = self._now.pop(old)
        self._now[new] = inode
        self._pending += [Name(new, inode), Name(old, None)]
        self._take_images()

    def fsync_dir(self, folder: Path) -> None:
        forced = os.path.relpath(folder, self._root)
        for change in [one for one in self._pending if str(one.path.parent) == forced]:
            self._pending.remove(change)
            if change.inode is None:
                self._sure.pop(change.path, None)
            else:
                self._sure[change.path] = change.inode
        self._take_images()

    def remove(self, path: Path) -> None:
        super().remove(path)
        relative = path.relative_to(self._root)
        if self._now.pop(relative, None) is not None:
            self._pending.append(Name(relative, None))
        self._take_images()


def build(image: dict[Path, bytes], root: Path) -> None:
    """Makes the files of an image."""
    for path, data in image.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
