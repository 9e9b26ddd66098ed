"""A worker of `convert` whose encoder is replaced by one that counts frames, in runs of two.

For figures on all that is not the encoder; whoever shows such a figure says so.
"""

from __future__ import annotations

import sys

import numpy as np

from spire_dsu.convert.service import serve
from spire_dsu.convert.worker import Model
from spire_dsu.types import Float32, Units, num_frames

CLUSTERS = 1000


def count(waves: list[Float32]) -> list[Units]:
    """As many units as speech has, which say nothing."""
    found = []
    for wave in waves:
        frames = num_frames(wave.size)
        durations = np.full(-(-frames // 2), 2, np.int32)
        durations[-1:] -= frames % 2
        found.append(Units(np.arange(durations.size, dtype=np.int32) % CLUSTERS, durations))
    return found


if __name__ == "__main__":
    facts = {"num_clusters": CLUSTERS, "model": "none: frames are counted"}
    serve(sys.stdin.buffer, int(sys.argv[1]), Model(count, facts))
