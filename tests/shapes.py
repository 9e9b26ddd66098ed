"""The shapes that tests and benchmarks sweep: borders where kernels of this kind have gone wrong.

Every entry has a reason: 0 and 1, both sides of every power of two that a tile could have, the
sizes of real codebooks and encoders, 16-bit limits, and D that no vector width divides.
"""

from __future__ import annotations

import os
import zlib

FRAMES = [
    0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513,
    65_535, 65_536, 65_537, 2**20 + 1,
]  # fmt: skip
CENTROIDS = [1, 2, 31, 32, 33, 255, 256, 257, 500, 2_000, 5_000, 65_535]
DIMS = [1, 3, 8, 64, 100, 768, 1_024, 1_280]

MULTIPLIER = int(os.environ.get("SPIRE_TEST_MULTIPLIER", "1"))
"""1 on a developer's machine, 10 every night, 100 before a release."""


def grid(budget: float = 3e7, share: float = 0.12) -> list[tuple[int, int, int]]:
    """(frames, centroids, dims), those whose product is within the budget; a fixed sample of them.

    Every frame count, codebook size and width occurs, at the smallest other sizes if nowhere else.
    Budget and sample grow with SPIRE_TEST_MULTIPLIER until the whole grid is in.
    """
    budget, share = budget * MULTIPLIER**3, share * MULTIPLIER
    chosen = {
        (n, k, d)
        for n in FRAMES
        for k in CENTROIDS
        for d in DIMS
        if n * k * d <= budget and zlib.crc32(f"{n},{k},{d}".encode()) % 1000 < 1000 * share
    }
    chosen |= (
        {(n, 2, 1) for n in FRAMES} | {(2, k, 1) for k in CENTROIDS} | {(2, 2, d) for d in DIMS}
    )
    return sorted(chosen)
