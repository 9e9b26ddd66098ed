"""Shards to Megatron's .bin and .idx, read back and verified, in millions of units per second.

    python benchmarks/bench_export.py [--shards 32] [--repeats 3]

Shards of 4,096 rows whose runs are as long as those of speech; random units. "Reading" is what
every user of the shards pays: digests, Parquet, and the check of each row. "Once read" is the
export without it: tokens made, written, forced to disk, read back, held against their digest and
range.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from harness import Benchmark

from spire_dsu.errors import Reason
from spire_dsu.export import check_megatron, export_megatron
from spire_dsu.journal import Journal, Plan
from spire_dsu.shards import open_shards, write_shard
from spire_dsu.types import UnitRow

CLUSTERS = 5000
FIRST_UNIT = 32_005
VOCABULARY = 37_056
ROWS = 4096
UNITS = 350  # of ten seconds


def rows(shard: int) -> list[UnitRow]:
    """The rows of a shard: no unit follows itself."""
    rng = np.random.default_rng(shard)
    steps = rng.integers(1, CLUSTERS, (ROWS, UNITS))
    units = (np.cumsum(steps, axis=1) % CLUSTERS).astype(np.uint16)
    durations = rng.geometric(0.7, (ROWS, UNITS)).astype(np.uint32)
    found = []
    for n in range(ROWS):
        frames = int(durations[n].sum())
        found.append(
            UnitRow(
                id=f"{shard}-{n}", status=Reason.OK, units=units[n], durations=durations[n],
                num_samples=320 * frames + 80, num_frames=frames, text="some words", lang="en",
                speaker=None, source=f"{n}.flac", offset=0.0, duration=None,
            )
        )  # fmt: skip
    return found


def measure(bench: Benchmark, folder: Path, shards: int, repeats: int) -> None:
    """Reads, exports, and checks what was exported, in turns."""
    out = folder / "units"
    with Journal(out, {"num_clusters": CLUSTERS}, Plan(shards * ROWS, ROWS)) as journal:
        for shard in journal.pending():
            journal.commit(write_shard(out, shard, rows(shard), journal.fingerprint))
        journal.finish()
    expected = np.concatenate([batch.units for batch in open_shards(out).batches()])

    def read() -> int:
        return sum(batch.units.size for batch in open_shards(out).batches())

    def export() -> None:
        export_megatron(out, folder / "speech", first_unit_token=FIRST_UNIT, vocab_size=VOCABULARY)

    runs = {
        "export": export,
        "reading alone": read,
        "check of an export": lambda: check_megatron(folder / "speech"),
    }
    times = bench.compare(
        f"{expected.size / 1e6:.0f} M units", runs, repeats=repeats, work=expected.size / 1e6,
        unit="M units/s",
    )  # fmt: skip
    tokens = np.fromfile(folder / "speech.bin", np.uint16)
    if not np.array_equal(tokens, expected + np.uint16(FIRST_UNIT)):
        raise SystemExit("other tokens than units")
    pairs = zip(times["export"].seconds, times["reading alone"].seconds, strict=True)
    bench.figure("units", expected.size)
    once = [expected.size / 1e6 / (whole - reading) for whole, reading in pairs]
    bench.figure("m_units_per_second_once_read", np.median(once))
    for name, each in times.items():
        key = name.replace(" ", "_")
        bench.figure(f"m_units_per_second_{key}", expected.size / 1e6 / each.median)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--shards", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    bench = Benchmark("export", settings=vars(args))
    with tempfile.TemporaryDirectory() as folder:
        measure(bench, Path(folder), args.shards, args.repeats)
    bench.save()


if __name__ == "__main__":
    main()
