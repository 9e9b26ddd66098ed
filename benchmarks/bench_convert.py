"""A whole conversion on this machine, FLAC files in and shards out, beside the model alone and
beside the script that one would write.

    python benchmarks/bench_convert.py [--utterances 24] [--repeats 3] [--rows 1000 1000000]

HuBERT-large's shape up to layer 22 with random weights, float32, 5,000 centroids, and one thread
for every competitor:

- "model only": the encoder and the codebook on samples that are in memory already.
- "plain script": transformers' HubertModel cut to 22 layers, a DataLoader whose process reads with
  soundfile, scikit-learn's KMeans, a JSON line per file.

All have their model loaded before the clock starts. Of `convert` the clock runs from there to the
summary, with decoding, the journal and every fsync; its units are compared with those of the model
alone. What starting costs is a figure of its own.

Memory: the peak of the process that hands out shards and of a worker whose encoder is replaced by
one that counts, for manifests of so many rows (convert_memory.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster
import soundfile
import threadpoolctl
import torch
from bench_encode import EPS, LAYER, Transformers, build, merge, some_centroids, speech
from harness import Benchmark, Times
from torch.utils.data import DataLoader, Dataset

from spire_dsu.convert import Summary, convert
from spire_dsu.discretizer import Discretizer
from spire_dsu.features import Encoder
from spire_dsu.shards import open_shards
from spire_dsu.types import Float32, Units

MEMORY = Path(__file__).with_name("convert_memory.py")


class Files(Dataset[Any]):
    """Recordings as the plain script reads them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, Float32]:
        return self.paths[index].stem, soundfile.read(self.paths[index], dtype="float32")[0]


def first(batch: list[Any]) -> Any:
    """A batch of one, as it is."""
    return batch[0]


def plain_script(
    paths: list[Path], model: Transformers, means: sklearn.cluster.KMeans, out: Path
) -> None:
    """Features of one file at a time, scikit-learn's labels, runs merged, a line of JSON."""
    loader = DataLoader(Files(paths), batch_size=1, num_workers=1, collate_fn=first)
    with out.open("w") as file:
        for name, wave in loader:
            units = merge(means.predict(model.features([wave])[0].numpy()))
            row = {"id": name, "units": units.ids.tolist(), "durations": units.durations.tolist()}
            file.write(json.dumps(row) + "\n")


def whole(recordings: Path, out: Path, model: Path, workers: int) -> Summary:
    """Ours, from files to shards; a few rows a shard, so that there are some."""
    return convert(
        recordings, out, model=model, device="cpu", precision="exact", workers=workers,
        rows_per_shard=8,
    )  # fmt: skip


def speed(bench: Benchmark, args: argparse.Namespace, folder: Path) -> None:
    """End to end, model only, and the plain script, in turns."""
    waves = speech(args.utterances, seed=0)
    seconds = sum(wave.size for wave in waves) / 16_000
    recordings = folder / "audio"
    recordings.mkdir()
    for index, wave in enumerate(waves):
        soundfile.write(recordings / f"{index:04}.flac", wave, 16_000)
    paths = sorted(recordings.iterdir())
    waves = [soundfile.read(path, dtype="float32")[0] for path in paths]
    (folder / "large").mkdir()
    peer = build(folder / "large")
    encoder = Encoder.from_pretrained(folder / "large", layer=LAYER, normalize_eps=EPS)
    centroids = some_centroids(encoder, args.centroids)
    del encoder
    model = Discretizer.from_parts(folder / "large", centroids, layer=LAYER, normalize_eps=EPS)
    saved = model.save_pretrained(folder / "model")
    script = Transformers(peer, centroids, torch.float32)
    means = sklearn.cluster.KMeans(len(centroids), n_init=1, max_iter=1)
    means.cluster_centers_, means._n_threads = centroids, 1

    times: dict[str, list[float]] = {"convert": [], "model only": [], "plain script": []}
    starts: list[float] = []
    alone: list[Units] = []
    for turn in range(args.repeats):
        begun = time.perf_counter()
        summary = whole(recordings, folder / f"out-{turn}", saved, workers=1)
        starts.append(time.perf_counter() - begun - summary.seconds)
        times["convert"].append(summary.seconds)
        begun = time.perf_counter()
        alone = list(model.encode_stream(waves))
        times["model only"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        plain_script(paths, script, means, folder / "plain.jsonl")
        times["plain script"].append(time.perf_counter() - begun)
    check(bench, folder, alone)
    bench.repeats["one thread"] = {name: tuple(each) for name, each in times.items()}
    ours, bare, plain = (Times(tuple(each)) for each in times.values())
    bench.figure("seconds_of_audio", seconds)
    bench.figure("end_to_end_over_model_only", 1 / bare.speedup_over(ours))
    bench.figure("vs_plain_script", ours.speedup_over(plain))
    bench.figure("x_real_time_one_core", seconds / ours.median)
    bench.figure("start_seconds", Times(tuple(starts)).median)
    many = whole(recordings, folder / "many", saved, workers=args.workers)
    bench.figure("workers", args.workers)
    bench.figure("x_real_time_all_workers", many.hours_per_hour)


def check(bench: Benchmark, folder: Path, alone: list[Units]) -> None:
    """The shards must hold the units of the model alone; tells how far the script agrees."""
    rows = list(open_shards(folder / "out-0"))
    for row, units in zip(rows, alone, strict=True):
        if not np.array_equal(row.units, units.ids):
            raise SystemExit(f"{row.id}: other units than those of the model alone")
    lines = [json.loads(line) for line in (folder / "plain.jsonl").read_text().splitlines()]
    script = [np.repeat(line["units"], line["durations"]) for line in lines]
    same = [np.mean(a == b.to_frames()) for a, b in zip(script, alone, strict=True)]
    bench.figure("frames_equal_to_plain_script", float(np.mean(same)))


def flatness(bench: Benchmark, sizes: list[int]) -> None:
    """The peaks for manifests of growing length."""
    for rows in sizes:
        command = [sys.executable, str(MEMORY), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        for who in ("driver", "worker"):
            bench.figure(f"{who}_mb_{rows}_rows_counting_encoder", found[who] / 1e6)
        bench.figure(f"rows_per_second_{rows}_rows_counting_encoder", rows / found["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--utterances", type=int, default=24)
    parser.add_argument("--centroids", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    args = parser.parse_args()
    bench = Benchmark("convert", settings=vars(args))
    torch.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        speed(bench, args, Path(folder))
    flatness(bench, args.rows)
    bench.save()


if __name__ == "__main__":
    main()
