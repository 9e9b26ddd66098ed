"""The frames that k-means passes over: in memory, or in one scratch file, of a size set before."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import ConfigError
from spire_dsu.storage import DISK, Storage, write_all

NO_PHONE = -1
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Room:
    """How many frames there is room for.

    Attributes:
        fitted, heldout: frames of either kind.
        dim: D.
        dtype: "float32" or "float16".
    """

    fitted: int
    heldout: int
    dim: int
    dtype: str

    @classmethod
    def within(cls, size: float, heldout: float, dim: int, dtype: str) -> Room:
        """The room that so many bytes make; `heldout` is its share for held-out frames.

        Raises:
            ConfigError: not even one frame of each.
        """
        frames = int(size) // (dim * np.dtype(dtype).itemsize + 2)
        measured = max(1, round(frames * heldout)) if heldout else 0
        if frames - measured < 1:
            raise ConfigError(f"a cache of {size:.0f} bytes holds no frame of {dim} values")
        return cls(frames - measured, measured, dim, dtype)


class Cache:
    """Frames of both kinds with their phones, appended as they come.

    Attributes:
        used: frames taken so far, by kind.
        crc: of all frames taken so far, by kind: two caches that agree hold the same bytes.
    """

    def __init__(self, room: Room, scratch: Path | None, storage: Storage = DISK) -> None:
        """Args: scratch: the file, made or opened; None: memory.

        Raises:
            OSError: the file cannot be made.
        """
        self.room = room
        self.used = {"fitted": 0, "heldout": 0}
        self.crc = {"fitted": 0, "heldout": 0}
        self._storage = storage
        self._fd = -1
        self._arrays: dict[str, Array] = {}
        self._starts: dict[str, int] = {}
        end = 0
        for name, dtype, shape in self._regions():
            self._starts[name] = end
            end += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 4096) * 4096
            if scratch is None:
                self._arrays[name] = np.empty(shape, dtype)  # pages that nobody writes cost nothing
        if scratch is not None:
            self._fd = storage.open(scratch, os.O_RDWR | os.O_CREAT)
            os.ftruncate(self._fd, end)  # sparse: it grows as it fills
        self._path = scratch

    def _regions(self) -> list[tuple[str, str, tuple[int, ...]]]:
        room = self.room
        return [
            ("fitted", room.dtype, (room.fitted, room.dim)),
            ("heldout", room.dtype, (room.heldout, room.dim)),
            ("fitted phones", "int16", (room.fitted,)),
            ("heldout phones", "int16", (room.heldout,)),
        ]

    def free(self, kind: str) -> int:
        """Frames that still find room."""
        room = self.room.fitted if kind == "fitted" else self.room.heldout
        return room - self.used[kind]

    def add(self, kind: str, features_TD: Array, phones_T: Array | None) -> int:
        """Appends frames, as many as find room; returns how many.

        Args:
            kind: "fitted" or "heldout".
            features_TD: float32 [T, D], finite; stored in the cache's type.
            phones_T: int16 [T]; None: no phone is known.

        Raises:
            OSError: the disk is full or failed.
        """
        count = min(len(features_TD), self.free(kind))
        rows = np.ascontiguousarray(features_TD[:count], self.room.dtype)
        phones = np.full(count, NO_PHONE, np.int16) if phones_T is None else phones_T[:count]
        self._write(kind, rows)
        self._write(f"{kind} phones", np.ascontiguousarray(phones, np.int16))
        self.crc[kind] = zlib.crc32(rows.tobytes(), self.crc[kind])
        self.used[kind] += count
        return count

    def _write(self, name: str, rows: Array) -> None:
        at = self.used[name.partition(" ")[0]]
        if self._fd < 0:
            self._arrays[name][at : at + len(rows)] = rows
        elif rows.size:
            size = rows.nbytes // len(rows)
            os.lseek(self._fd, self._starts[name] + at * size, os.SEEK_SET)
            write_all(self._storage, self._fd, rows.tobytes())

    def flush(self) -> None:
        """What was added survives the process, where there is a file."""
        if self._fd >= 0:
            self._storage.fsync(self._fd)

    def frames(self, kind: str) -> Array:
        """[T, D], the frames of a kind, in memory or mapped; none is copied."""
        return self._view(kind)[: self.used[kind]]

    def phones(self, kind: str) -> Array:
        """int16 [T]: the phone of each frame, or NO_PHONE."""
        return self._view(f"{kind} phones")[: self.used[kind]]

    def _view(self, name: str) -> Array:
        if self._path is None:
            return self._arrays[name]
        dtype, shape = next((d, s) for n, d, s in self._regions() if n == name)
        if not shape[0]:
            return np.empty(shape, dtype)
        # As a plain array: what takes arrays need not know where it lies.
        mapped = np.memmap(self._path, dtype, "r", self._starts[name], shape)
        return np.asarray(mapped)

    def close(self) -> None:
        """Lets the file go; it stays where it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
