"""Seeded choices that depend on what is chosen from, not on the order in which it is met."""

from __future__ import annotations

import hashlib

SPAN = 1 << 64
"""Hashes are below it."""


def hash_of(*parts: object) -> int:
    """A number below 2^64, uniform over the texts of the parts; the same in every version."""
    text = "\x00".join(str(part) for part in parts)
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
