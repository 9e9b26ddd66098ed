"""Seeded choices that depend on what is chosen from, not on the order in which it is met."""

from __future__ import annotations

import hashlib

SPAN = 1 << 64
"""Hashes are below it."""


def hash_of(*parts: object) -> int:
    """A number below 2^64, uniform over the texts of the parts; the same in every version."""
    data = "\x00".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def next_hash(value: int, number: int) -> int:
    """The `number`-th of the hashes that follow from one (SplitMix64): cheaper than a new one."""
    z = (value + (number + 1) * 0x9E3779B97F4A7C15) % SPAN
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % SPAN
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % SPAN
    return z ^ (z >> 31)
