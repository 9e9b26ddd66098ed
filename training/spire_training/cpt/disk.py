"""Folders that survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def force_to_disk(folder: Path) -> None:
    """Forces the files of a folder, their names and the folder's own name to disk.

    For folders that a library writes, before a marker or a rename makes them count.
    """
    for path in (*folder.iterdir(), folder, folder.parent):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
