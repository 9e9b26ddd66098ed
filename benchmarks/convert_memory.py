"""Peak memory of a conversion of so many rows, whose encoder is replaced by one that counts.

    python benchmarks/convert_memory.py 100000

Prints one JSON object: bytes of the process that hands out shards and of its worker, seconds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from spire_dsu.convert import convert
from spire_dsu.convert.local import LocalEngine, spawn

COUNTING = Path(__file__).with_name("counting_worker.py")


class Watched(LocalEngine):
    """Notes the largest resident size of its workers."""

    peak = 0

    def _answers(self) -> list[tuple[int, dict[str, Any] | None]]:
        found = super()._answers()
        for link in self._links.values():
            Watched.peak = max(Watched.peak, peak_of(link.child.pid))
        return found


def peak_of(pid: int | str) -> int:
    """Bytes: the largest resident size that a process had so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if "VmHWM" in line), 0)


def memory(rows: int) -> None:
    """Converts so many rows and prints peaks and seconds as JSON; in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        for index in range(4):
            noise = rng.normal(0, 0.1, 4000 * (index + 1))
            soundfile.write(folder / f"{index}.wav", noise, 16_000)
        with (folder / "list.jsonl").open("w") as file:
            for row in range(rows):
                line = {"id": str(row), "audio_filepath": f"{row % 4}.wav", "text": f"text {row}"}
                file.write(json.dumps(line) + "\n")
        summary = convert(
            folder / "list.jsonl",
            folder / "out",
            engine=lambda spec: Watched(spec, 1, launch=lambda: spawn([str(COUNTING)])),
        )
        assert summary.finished
        assert summary.counts == {"ok": rows}
        peaks = {"driver": peak_of("self"), "worker": Watched.peak}
        print(json.dumps({**peaks, "seconds": summary.seconds}))


if __name__ == "__main__":
    memory(int(sys.argv[1]))
