"""Damages shards, journals and manifests at random; only documented errors may come out.

python tests/fuzz/fuzz_shards.py TARGET RUNS SEED

TARGET is shard, journal or manifest. What is damaged is what a digest does not protect: the shard
    reader is given
the bytes themselves. It runs in a process of its own, since a fault in native code would take the
caller with it. Prints how many inputs were refused, and how many were read although they were
changed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from unit_rows import FINGERPRINT, convert, make_rows

from spire_dsu.errors import SpireError
from spire_dsu.journal import parse_journal
from spire_dsu.shards import MANIFEST, OutputManifest, parse_shard, write_shard


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: bits, bytes that matter to parsers, cuts, and pieces copied
    elsewhere."""
    bad = bytearray(data)
    first = 0 if rng.random() < 0.3 else max(0, len(bad) - 1500)  # the footer is where lies hurt
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(min(first, len(bad) - 1), len(bad)))
        match int(rng.integers(4)):
            case 0:
                bad[place] ^= 1 << int(rng.integers(8))
            case 1:
                bad[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
            case 2:
                del bad[place : place + int(rng.integers(1, 40))]
            case _:
                source, size = int(rng.integers(len(bad))), int(rng.integers(1, 60))
                bad[place : place + size] = bad[source : source + size]
        if not bad:
            break
    return bytes(bad)


def targets(folder: Path) -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    """Good bytes of each kind, and what reads them."""
    info = write_shard(folder, 0, make_rows(30), FINGERPRINT)
    convert(folder / "half", make_rows(30), limit=2)
    convert(folder / "whole", make_rows(30))
    return {
        "shard": (
            (folder / info.file).read_bytes(),
            lambda data: list(parse_shard(data, info, FINGERPRINT)),
        ),
        "journal": (
            (folder / "half" / "journal-00000-of-00001").read_bytes(),
            lambda data: parse_journal(data, "journal"),
        ),
        "manifest": ((folder / "whole" / MANIFEST).read_bytes(), OutputManifest.from_bytes),
    }


def main(target: str, runs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        good, read = targets(Path(folder))[target]
    refused = 0
    for _ in range(runs):
        try:
            read(mutate(good, rng))
        except SpireError:
            refused += 1
    print(refused, runs - refused)  # noqa: T201  (the answer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
