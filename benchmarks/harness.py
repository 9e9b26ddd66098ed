"""What every benchmark shares: interleaved timing, medians, a table, and a result file that can be
read in a year.

    bench = Benchmark("assign", settings={"frames": 16384})
    times = bench.compare("16384 frames", {"ours": ours, "torch": peer}, repeats=7)
    bench.figure("vs_torch", times["ours"].speedup_over(times["torch"]))
    bench.save()

Competitors run in turns within one process (ours, peer, ours, peer, ...), so that a slow moment of
the machine hits both, and ratios are taken between repeats of the same turn. A benchmark must check
the answers it timed.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"
VERSIONS = [
    "spire-dsu", "numpy", "torch", "transformers", "faiss-cpu", "scikit-learn", "soundfile", "soxr",
    "pyarrow", "triton",
]  # fmt: skip
FLAGS = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "sve"]


@dataclass(frozen=True)
class Times:
    """Seconds of one competitor, repeat by repeat."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / self.median

    def speedup_over(self, peer: Times) -> float:
        """How many times faster than the peer: the median over turns of peer / ours."""
        return statistics.median(b / a for a, b in zip(self.seconds, peer.seconds, strict=True))


def host_seconds(call: Callable[[], object]) -> float:
    """Wall time of one call, which must wait for a GPU that it uses."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleave(
    competitors: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    warmup: int = 1,
    timer: Callable[[Callable[[], object]], float] = host_seconds,
) -> dict[str, Times]:
    """Time each competitor `repeats` times, in turns whose first place goes round."""
    names = list(competitors)
    for name in names * warmup:
        competitors[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(timer(competitors[name]))
    return {name: Times(tuple(values)) for name, values in seconds.items()}


@dataclass
class Benchmark:
    """One benchmark run: what was measured, on what, with which answers."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    repeats: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    console: Console = field(default_factory=Console)

    def compare(
        self,
        title: str,
        competitors: Mapping[str, Callable[[], object]],
        *,
        repeats: int,
        warmup: int = 1,
        work: float | None = None,
        unit: str = "GFLOP/s",
        timer: Callable[[Callable[[], object]], float] = host_seconds,
    ) -> dict[str, Times]:
        """Time the competitors in turns and print a table; the first one is ours.

        Args:
            title: names the measurement in the table and in the result file.
            competitors: name -> a call that does the whole work once.
            repeats: timed calls of each; warmup: untimed calls of each before them.
            work: amount of work per call, for a column of rates in `unit` (1e9 FLOP for GFLOP/s).
            timer: seconds of one call; by default by the clock on the wall.
        """
        times = interleave(competitors, repeats=repeats, warmup=warmup, timer=timer)
        self.repeats[title] = {name: each.seconds for name, each in times.items()}
        first = next(iter(times.values()))
        columns = ["", "median", "spread", *([unit] if work else []), "ours is faster by"]
        table = Table(*columns, title=f"{self.name}: {title}", title_justify="left")
        for name, each in times.items():
            rate = [f"{work / each.median:,.1f}"] if work else []
            ratio = "" if each is first else f"{first.speedup_over(each):.2f}x"
            table.add_row(name, f"{each.median * 1e3:,.2f} ms", f"{each.spread:.1%}", *rate, ratio)
        self.console.print(table)
        return times

    def figure(self, name: str, value: float) -> None:
        """Record one number by which this run is judged."""
        self.figures[name] = round(float(value), 6)

    def save(self, folder: Path = RESULTS) -> Path:
        """Write `<name>_<hardware>_<date>.json`, print the figures, and return the path."""
        machine = machine_info()
        date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}_{machine['hardware']}_{date}.json"
        record = {
            "bench": self.name,
            "date": date,
            "machine": machine,
            "versions": versions(),
            "commit": commit(),
            "settings": self.settings,
            "figures": self.figures,
            "seconds": self.repeats,
        }
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        table = Table("figure", "value", title=path.name, title_justify="left")
        for name, value in self.figures.items():
            table.add_row(name, f"{value:g}")
        self.console.print(table)
        return path


def machine_info() -> dict[str, Any]:
    """Processor, cores this process may use, vector extensions, memory, GPU.

    `hardware` is a short form for file names.
    """
    cpuinfo = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    present = set(flags.group(1).split()) if flags else set()
    memory = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = model.group(1) if model else platform.processor() or platform.machine()
    gpu = _command("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").partition("\n")[0]
    short = re.sub(r"\W+", "-", gpu.removeprefix("NVIDIA ") or cpu).strip("-").lower()
    return {
        "hardware": short if gpu else f"{short}-{cores}c",
        "cpu": cpu,
        "cores": cores,
        "flags": [flag for flag in FLAGS if flag in present],
        "memory_gib": round(int(memory.group(1)) / 2**20, 1) if memory else None,
        "gpu": gpu or None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def versions() -> dict[str, str]:
    """Installed versions of what is measured and of its peers."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of this checkout, with "+" when tracked files differ from it; "unknown" outside of
    git."""
    head = _command("git", "rev-parse", "HEAD")
    changed = _command("git", "status", "--porcelain", "--untracked-files=no")
    return (head + ("+" if changed else "")) or "unknown"


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _command(*words: str) -> str:
    if shutil.which(words[0]) is None:
        return ""
    done = subprocess.run(words, capture_output=True, text=True, cwd=RESULTS.parent, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
