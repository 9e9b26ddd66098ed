"""Fitting a codebook on the CPU: ours beside scikit-learn's MiniBatchKMeans and faiss's Kmeans.

    OMP_NUM_THREADS=1 python benchmarks/bench_fit.py [--frames 60000] [--clusters 1000]

All get the same float32 features in memory and the same number of threads, and are judged by the
mean squared distance of frames that none of them saw (held-out inertia). First each runs its usual
course, untimed: ours until its own early stop; faiss its 25 iterations (or fewer, once they gain
nothing), over all frames and not the 256 a centroid that it takes unasked; scikit-learn 12 epochs
(likewise) with the settings by which HuBERT's units are made (batches of 10,000, no reassignment),
but with one random start, for its k-means++ takes longer than all the rest. The level is 0.5 %
above the best inertia that one of these reaches. Then each is given as few passes as bring it to
the level (or its whole course where that does not), and is timed, in turns. The time of ours
includes k-means++ and the held-out inertia of every pass.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import faiss
import numpy as np
import sklearn.cluster
import threadpoolctl
import torch
from harness import Benchmark
from synthetic import speech_like

import spire_dsu
from spire_dsu import _core
from spire_dsu.kmeans import Lloyd, Schedule, State, draw_start
from spire_dsu.types import Float32

FAISS, SKLEARN = "faiss Kmeans", "sklearn MiniBatchKMeans"
LEVEL = 1.005
FAISS_ITERATIONS = 25
SKLEARN_EPOCHS = 12
BATCH = 10_000
HUBERT = {"init": "random", "n_init": 1, "batch_size": BATCH, "reassignment_ratio": 0.0}

Fit = Callable[[int], Float32]
"""Passes in, centroids out."""


@dataclass(frozen=True)
class Course:
    """What a competitor's passes came to.

    Attributes:
        heldout: the held-out inertia after 1, 2, ... passes.
    """

    heldout: tuple[float, ...]

    def passes_to(self, level: float) -> int:
        """The fewest that reach the level; all of them where none does."""
        return next((n for n, each in enumerate(self.heldout, 1) if each <= level), self.passes)

    @property
    def passes(self) -> int:
        return len(self.heldout)


def competitors(features: Float32, heldout: Float32, clusters: int, threads: int) -> dict[str, Fit]:
    """Name -> a whole fit of so many passes; the first is ours."""

    def ours(passes: int) -> Float32:
        start = draw_start(features, clusters, seed=0, threads=threads)
        state = State.begin(start, len(features))
        lloyd = Lloyd(features, state, seed=0, heldout_TD=heldout, threads=threads)
        lloyd.run(Schedule(passes=passes, tolerance=5e-4))
        return lloyd.state.centroids

    def by_faiss(passes: int) -> Float32:
        means = faiss.Kmeans(
            features.shape[1], clusters, niter=passes, max_points_per_centroid=len(features), seed=1
        )
        means.train(features)
        return np.asarray(means.centroids)

    def by_sklearn(passes: int) -> Float32:
        *_, centroids = sklearn_epochs(features, clusters, passes)
        return centroids

    return {"ours": ours, FAISS: by_faiss, SKLEARN: by_sklearn}


def inertia(heldout: Float32, centroids: Float32, threads: int) -> float:
    """Mean squared distance to the nearest centroid."""
    labels = spire_dsu.assign(heldout, centroids, threads=threads)
    return float(_core.distances(heldout, labels, centroids, threads=threads).mean())


def course_of_ours(features: Float32, heldout: Float32, clusters: int, threads: int) -> Course:
    """Every pass until the early stop."""
    start = draw_start(features, clusters, seed=0, threads=threads)
    state = State.begin(start, len(features))
    lloyd = Lloyd(features, state, seed=0, heldout_TD=heldout, threads=threads)
    history = lloyd.run(Schedule(tolerance=5e-4))
    return Course(tuple(each.heldout or 0.0 for each in history))


def course_of_faiss(features: Float32, heldout: Float32, clusters: int, threads: int) -> Course:
    """Every iteration, each from the centroids of the one before, until they gain nothing."""
    found: list[float] = []
    centroids = None
    for _ in range(FAISS_ITERATIONS):
        means = faiss.Kmeans(
            features.shape[1], clusters, niter=1, max_points_per_centroid=len(features), seed=1
        )
        means.train(features, init_centroids=centroids)
        centroids = np.array(means.centroids)
        found.append(inertia(heldout, centroids, threads))
        if is_over(found):
            break
    return Course(tuple(found))


def sklearn_epochs(features: Float32, clusters: int, epochs: int) -> Iterator[Float32]:
    """The centroids after each epoch: as `fit` does it, batches drawn at random."""
    means = sklearn.cluster.MiniBatchKMeans(clusters, random_state=0, **HUBERT)
    draw = np.random.default_rng(0)
    for _ in range(epochs):
        for _ in range(-(-len(features) // BATCH)):
            means.partial_fit(features[draw.integers(len(features), size=BATCH)])
        yield means.cluster_centers_


def course_of_sklearn(features: Float32, heldout: Float32, clusters: int, threads: int) -> Course:
    """Every epoch until they gain nothing."""
    found: list[float] = []
    for centroids in sklearn_epochs(features, clusters, SKLEARN_EPOCHS):
        found.append(inertia(heldout, centroids, threads))
        if is_over(found):
            break
    return Course(tuple(found))


def is_over(found: list[float]) -> bool:
    """Whether the last two passes together gained under 0.05 %: what follows is noise."""
    return len(found) > 2 and found[-3] - found[-1] < 5e-4 * found[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=60_000)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--dims", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=_core.default_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    faiss.omp_set_num_threads(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    bench = Benchmark("fit", settings={**vars(args), "data": "speech_like", "sklearn": HUBERT})
    with threadpoolctl.threadpool_limits(args.threads):
        compare(bench, args)
    bench.save()


def compare(bench: Benchmark, args: argparse.Namespace) -> None:
    """Courses, the level, and times to it."""
    features = speech_like(args.frames, args.dims, seed=5)
    heldout = speech_like(max(2000, args.frames // 20), args.dims, seed=6)
    data = (features, heldout, args.clusters, args.threads)
    fits = competitors(*data)
    found = (course_of_ours(*data), course_of_faiss(*data), course_of_sklearn(*data))
    courses = dict(zip(fits, found, strict=True))
    level = LEVEL * min(min(each.heldout) for each in found)
    passes = {name: each.passes_to(level) for name, each in courses.items()}
    bench.settings |= {
        "level": level,
        "passes": passes,
        "heldout_by_pass": {name: each.heldout for name, each in courses.items()},
    }
    results: dict[str, Float32] = {}
    cpu: dict[str, list[float]] = {name: [] for name in fits}  # what a busy machine leaves alone

    def run(name: str) -> Callable[[], None]:
        def timed() -> None:
            begun = time.process_time()
            results[name] = fits[name](passes[name])
            cpu[name].append(time.process_time() - begun)

        return timed

    times = bench.compare(
        f"{args.frames} frames to {args.clusters} clusters, held-out inertia {level:.2f}",
        {name: run(name) for name in fits},
        repeats=args.repeats,
        warmup=0,
    )
    reached = {name: inertia(heldout, each, args.threads) for name, each in results.items()}
    for name, value in reached.items():
        bench.console.print(f"{name}: {passes[name]} passes, held-out inertia {value:.3f}")
    for figure, peer in (("faiss", FAISS), ("sklearn_minibatch", SKLEARN)):
        bench.figure(f"vs_{figure}", times["ours"].speedup_over(times[peer]))
        bench.figure(f"heldout_ratio_{figure}", reached["ours"] / reached[peer])
        bench.figure(f"passes_{figure}", passes[peer])
        bench.figure(
            f"cpu_vs_{figure}", statistics.median(cpu[peer]) / statistics.median(cpu["ours"])
        )
    bench.settings["cpu_seconds"] = cpu
    bench.figure("passes", passes["ours"])
    bench.figure("seconds", times["ours"].median)


if __name__ == "__main__":
    main()
