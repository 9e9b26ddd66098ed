"""A whole conversion on this machine, FLAC files in and shards out, beside the model alone and
beside the script that one would write.

    python benchmarks/bench_convert.py speed [--utterances 4] [--repeats 2]
    python benchmarks/bench_convert.py rows [--rows 1000 1000000] [--resume 10000000]

speed: for `mini`, and for HuBERT-large's shape up to layer 22 with random weights and 5,000
centroids; float32, one thread for every competitor, each in a new process, in turns
(convert_peers.py). Every clock starts once the model is loaded; what that takes is a figure of its
own. Of `convert` it runs to the summary, with decoding, the journal and every fsync. Figures leave
out the first quarter of the files of every competitor, in which decoders start and libraries choose
their kernels, unless they say "from_the_first_file". "cpu_time" compares the CPU time of all
processes with the model's alone, as if everything shared one core. All shards must hold the units
of the model alone.

rows: what grows with the number of rows, with an encoder that only counts frames: peaks of the
process that hands out shards and of a worker (convert_memory.py), and how long a stopped conversion
takes to go on (convert_resume.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from bench_encode import EPS, some_centroids, speech
from harness import Benchmark, Times
from random_hubert import LAYER, build

from spire_dsu.convert import convert
from spire_dsu.convert.job import Check, Done, Event, Target
from spire_dsu.convert.local import LocalEngine
from spire_dsu.discretizer import Discretizer
from spire_dsu.features import Encoder
from spire_dsu.shards import open_shards

HERE = Path(__file__).parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
QUARTERS = 4


@dataclass
class Run:
    """How one competitor fared: seconds, from the loaded model on, at which each file was done, and
    the CPU time that its processes had taken by then.

    For `convert`, only the last file of each shard has times of its own.
    """

    ends: list[float]
    cpu: list[float]
    frames: list[int] = field(default_factory=list)
    start: float = 0.0

    @property
    def whole(self) -> float:
        return self.ends[-1]

    @property
    def steady(self) -> float:
        """Without the first quarter."""
        return last_quarters(self.ends)


def last_quarters(ends: Sequence[float]) -> float:
    """What the last three quarters took."""
    return ends[-1] - ends[len(ends) // QUARTERS - 1]


class Watched(LocalEngine):
    """Notes when each shard was done, by whom, with how many samples and after how much CPU time
    of this process, the workers and their decoders."""

    def run(self, target: Target, shards: Sequence[int], check: Check) -> Iterator[Event]:
        begun = time.perf_counter()
        self.done: list[tuple[float, int, int, float]] = []
        for event in super().run(target, shards, check):
            if isinstance(event, Done):
                at = time.perf_counter() - begun
                cpu = time.process_time() + sum(
                    cpu_time(pid) for link in self._links.values() for pid in family(link.child.pid)
                )
                self.done.append((at, event.worker, event.info.samples, cpu))
            yield event


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def cpu_time(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ours(
    paths: list[Path], model: Path, out: Path, shards: int, workers: int = 1
) -> tuple[Watched, float]:
    """Converts; returns the engine with its times, and seconds from the loaded model to the end."""
    manifest = out.with_suffix(".jsonl")
    lines = [{"id": str(n), "audio_filepath": str(path)} for n, path in enumerate(paths)]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    engines: list[Watched] = []

    def launch(spec: Any) -> Watched:
        engines.append(Watched(spec, workers))
        return engines[0]

    summary = convert(
        manifest, out, model=model, device="cpu", precision="exact", engine=launch,
        rows_per_shard=len(paths) // shards,
    )  # fmt: skip
    return engines[0], summary.seconds


def end_to_end(paths: list[Path], model: Path, out: Path) -> Run:
    """One worker, from files to shards."""
    begun = time.perf_counter()
    engine, seconds = ours(paths, model, out, QUARTERS)
    start = time.perf_counter() - begun - seconds
    frames = [unit for row in open_shards(out) for unit in np.repeat(row.units, row.durations)]
    ends = [at for at, _, _, _ in engine.done[:-1]]
    cpu = [each for _, _, _, each in engine.done]
    return Run([*ends, seconds], cpu, list(map(int, frames)), start)


def started(kind: str, paths: list[Path], model: Path) -> subprocess.Popen[str]:
    """A peer, at work."""
    command = [sys.executable, HERE / "convert_peers.py", kind, model, *paths]
    env = {**os.environ, **ONE_THREAD}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> Run:
    """How it fared."""
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a peer ended with status {process.returncode}")
    return Run(**json.loads(text.splitlines()[-1]))


def compare(bench: Benchmark, paths: list[Path], model: Path, name: str, repeats: int) -> None:
    """End to end, model only, and the plain script, in turns."""
    seconds = sum(soundfile.info(path).duration for path in paths)
    runs: dict[str, list[Run]] = {"convert": [], "model only": [], "plain script": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats):
            runs["convert"].append(end_to_end(paths, model, Path(folder) / str(turn)))
            runs["model only"].append(ended(started("alone", paths, model)))
            runs["plain script"].append(ended(started("plain", paths, model)))
    whole = {who: Times(tuple(run.whole for run in each)) for who, each in runs.items()}
    steady = {who: Times(tuple(run.steady for run in each)) for who, each in runs.items()}
    bench.repeats[f"{name}, {seconds:.0f} s, from the loaded model on"] = {
        who: each.seconds for who, each in whole.items()
    }
    bench.repeats[f"{name}, steady"] = {who: each.seconds for who, each in steady.items()}
    ours_, alone, plain = (runs[who][0].frames for who in runs)
    if ours_ != alone:
        raise SystemExit(f"{name}: other units than those of the model alone")
    ending = "" if name == "large" else f"_{name}"
    for kind, times in (("", steady), ("_from_the_first_file", whole)):
        mine = times["convert"]
        ratio = 1 / times["model only"].speedup_over(mine)
        bench.figure(f"end_to_end_over_model_only{kind}{ending}", ratio)
        bench.figure(f"vs_plain_script{kind}{ending}", mine.speedup_over(times["plain script"]))
    cpu = {who: Times(tuple(last_quarters(run.cpu) for run in each)) for who, each in runs.items()}
    ratio = 1 / cpu["model only"].speedup_over(cpu["convert"])
    bench.figure(f"end_to_end_over_model_only_cpu_time{ending}", ratio)
    bench.figure(f"x_real_time_one_core{ending}", seconds / whole["convert"].median)
    starts = Times(tuple(run.start for run in runs["convert"]))
    bench.figure(f"start_seconds{ending}", starts.median)
    bench.figure(f"frames_equal_to_plain_script{ending}", np.mean(np.equal(plain, alone)))


def all_cores(bench: Benchmark, paths: list[Path], model: Path, workers: int) -> None:
    """As many workers as cores, whose decoders take time from them, beside as many models alone."""
    with tempfile.TemporaryDirectory() as folder:
        engine, _ = ours(paths * 4 * workers, model, Path(folder) / "out", 8 * workers, workers)
    mine = [[at for at, who, _, _ in engine.done if who == worker] for worker in range(workers)]
    begin, end = max(each[0] for each in mine), min(each[-1] for each in mine)
    samples = sum(count for at, _, count, _ in engine.done if begin < at <= end)
    rate = samples / 16_000 / (end - begin)
    peers = [ended(each) for each in [started("alone", paths, model) for _ in range(workers)]]
    quarter = sum(soundfile.info(path).duration for path in paths[len(paths) // QUARTERS :])
    bench.figure("workers", workers)
    bench.figure("x_real_time_all_cores_mini", rate)
    alone = sum(quarter / peer.steady for peer in peers)
    bench.figure("all_cores_over_models_only_mini", rate / alone)


def speed(bench: Benchmark, args: argparse.Namespace, folder: Path) -> None:
    """Both shapes."""
    waves = speech(args.utterances_mini, seed=0)
    for index, wave in enumerate(waves):
        soundfile.write(folder / f"{index:04}.flac", wave, 16_000)
    paths = sorted(folder.glob("*.flac"))
    mini = Discretizer.from_pretrained("mini", device="cpu").save_pretrained(folder / "mini")
    compare(bench, paths, mini, "mini", args.repeats + 1)
    all_cores(bench, paths, mini, args.workers)
    (folder / "encoder").mkdir()
    build(folder / "encoder")
    fast = Encoder.from_pretrained(folder / "encoder", layer=LAYER, precision="fast", device="cpu")
    centroids = some_centroids(fast, args.centroids)
    del fast
    model = Discretizer.from_parts(folder / "encoder", centroids, layer=LAYER, normalize_eps=EPS)
    large = model.save_pretrained(folder / "large")
    del model
    compare(bench, paths[: args.utterances], large, "large", args.repeats)


def rows(bench: Benchmark, args: argparse.Namespace) -> None:
    """Memory and the time to go on, for manifests of growing length."""
    peaks: dict[str, list[float]] = {"driver": [], "worker": []}
    for count in args.rows:
        found = asked("convert_memory.py", count)
        for who, sizes in peaks.items():
            sizes.append(found[who] / 1e6)
            bench.figure(f"{who}_mb_{count}_rows_counting_encoder", found[who] / 1e6)
        bench.figure(f"rows_per_second_{count}_rows_counting_encoder", count / found["seconds"])
    if len(args.rows) > 1:
        for who, sizes in peaks.items():
            bench.figure(f"memory_growth_mb_{who}_counting_encoder", sizes[-1] - sizes[0])
        bench.figure("memory_growth_counting_encoder", max(s[-1] / s[0] for s in peaks.values()))
    for count in args.resume:
        found = asked("convert_resume.py", count)
        bench.figure(f"resume_seconds_{count}_rows", found["resume"])
        bench.figure(f"manifest_rows_per_second_{count}_rows", count / found["read"])
        bench.figure(f"manifest_mb_{count}_rows", found["reading"] / 1e6)
        bench.figure(f"resume_mb_{count}_rows", found["driver"] / 1e6)


def asked(script: str, count: int) -> dict[str, float]:
    """What a script of this folder prints."""
    command = [sys.executable, HERE / script, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("what", choices=("speed", "rows"))
    parser.add_argument("--utterances", type=int, default=4, help="for HuBERT-large's shape")
    parser.add_argument("--utterances-mini", type=int, default=64)
    parser.add_argument("--centroids", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 1_000_000])
    parser.add_argument("--resume", type=int, nargs="*", default=[10_000_000])
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Benchmark(f"convert_{args.what}", settings=vars(args))
    if args.what == "rows":
        rows(bench, args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            speed(bench, args, Path(folder))
    bench.save()


if __name__ == "__main__":
    main()
