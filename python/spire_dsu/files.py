"""Small files that are whole or absent, and what a file's bytes are known by."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from spire_dsu.storage import AtomicFile

_BLOCK = 1 << 20


def write_atomically(path: str | os.PathLike[str], parts: bytes | Iterable[bytes]) -> Path:
    """Writes a file so that no reader ever sees half of it, and so that it survives a power cut.

    Args:
        path: the file to make or replace; its folder is made when absent.
        parts: the content, whole or in pieces.

    Returns:
        The path.

    Raises:
        OSError: the folder cannot be written; nothing is left behind then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two processes that write the same file both succeed, and the last one wins.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with AtomicFile(path, temporary=temporary) as file:
        for part in (parts,) if isinstance(parts, bytes) else parts:
            file.write(part)
    return path


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal, read in blocks.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
