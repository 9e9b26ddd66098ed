"""Nearest centroid of every frame on the CPU: ours, per instruction set, beside torch, faiss,
scikit-learn and fairseq's way.

    OMP_NUM_THREADS=2 python benchmarks/bench_assign.py [--frames 16384] [--repeats 9]

All competitors get float32 features and centroids as plain arrays and the same number of threads;
ours prepares its codebook anew in every call. Answers are compared with float64. The time of ours
includes the shift, the rounding, the codebook, and the comparison of what the screen left open in
float64.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import faiss
import numpy as np
import sklearn.cluster
import threadpoolctl
import torch
from harness import Benchmark
from synthetic import codebook, nearest_float64, speech_like

import spire_dsu
from spire_dsu import _core, units
from spire_dsu.types import Float32

UTTERANCE = 500


def competitors(
    features: Float32, centroids: Float32, threads: int
) -> dict[str, Callable[[], np.ndarray]]:
    """Name -> a call that returns labels [T]; the first is ours."""
    x, c = torch.from_numpy(features), torch.from_numpy(centroids)
    scores = torch.empty(1024, len(centroids))
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    means = sklearn.cluster.KMeans(len(centroids), n_init=1, max_iter=1)
    means.cluster_centers_ = centroids
    means._n_threads = threads
    half = 0.5 * np.square(centroids).sum(axis=1)

    def torch_addmm() -> np.ndarray:
        norms = 0.5 * c.square().sum(dim=1)
        ids = []
        for block in x.split(len(scores)):
            out = torch.addmm(norms, block, c.T, alpha=-1, out=scores[: len(block)])
            ids.append(out.argmin(dim=1))
        return torch.cat(ids).numpy()

    def fairseq() -> np.ndarray:
        """simple_kmeans' ApplyKmeans: one call per utterance, the whole matrix of distances."""
        blocks = [features[i : i + UTTERANCE] for i in range(0, len(features), UTTERANCE)]
        distances = [
            (b**2).sum(1, keepdims=True) - 2 * np.matmul(b, centroids.T) + 2 * half for b in blocks
        ]
        return np.concatenate([d.argmin(axis=1) for d in distances])

    return {
        "ours": lambda: spire_dsu.assign(features, centroids, threads=threads),
        "torch addmm + argmin": torch_addmm,
        "faiss IndexFlatL2": lambda: index.search(features, 1)[1][:, 0],
        "sklearn KMeans.predict": lambda: means.predict(features),
        "fairseq, numpy": fairseq,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=16384)
    parser.add_argument("--centroids", type=int, default=5000)
    parser.add_argument("--dims", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=_core.default_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    faiss.omp_set_num_threads(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)

    bench = Benchmark("assign", settings={**vars(args), "data": "speech_like"})
    centroids = codebook(args.centroids, speech_like(12 * args.centroids, args.dims, seed=77))
    features = speech_like(args.frames, args.dims, seed=1)
    gflop = 2e-9 * args.frames * args.centroids * args.dims
    with threadpoolctl.threadpool_limits(args.threads):
        compare(bench, features, centroids, args, gflop)
    bench.save()


def compare(
    bench: Benchmark, features: Float32, centroids: Float32, args: argparse.Namespace, gflop: float
) -> None:
    """The four measurements: peers, instruction sets, a bare matrix product, one utterance."""
    runs = competitors(features, centroids, args.threads)
    truth = nearest_float64(features, centroids)
    for name, run in runs.items():
        wrong = int((run() != truth).sum())
        bench.console.print(f"{name}: {wrong} of {len(truth)} labels differ from float64")
        if name == "ours":
            bench.figure("disagreements", wrong)
    times = bench.compare(f"{len(features)} frames", runs, repeats=args.repeats, work=gflop)
    ours = times["ours"]
    for figure, peer in (
        ("vs_torch", "torch addmm + argmin"),
        ("vs_faiss", "faiss IndexFlatL2"),
        ("vs_sklearn", "sklearn KMeans.predict"),
        ("vs_fairseq", "fairseq, numpy"),
    ):
        bench.figure(figure, ours.speedup_over(times[peer]))
    bench.figure("gflops", gflop / ours.median)

    prepared = units.Codebook(centroids)
    each = {
        isa: lambda isa=isa: units.assign(features, prepared, threads=args.threads, isa=isa)
        for isa in reversed(units.available_isas())
    }
    wrong = sum(int((run() != truth).sum()) for run in each.values())
    bench.figure("disagreements_all_isas", wrong)
    x, c = torch.from_numpy(features), torch.from_numpy(centroids)
    each["sgemm alone (torch)"] = lambda: x @ c.T
    times = bench.compare("prepared codebook", each, repeats=args.repeats, work=gflop)
    for isa in units.available_isas():
        bench.figure(f"gflops_{isa}", gflop / times[isa].median)
    best = times[units.available_isas()[-1]]
    bench.figure("share_of_sgemm", best.speedup_over(times["sgemm alone (torch)"]))

    one = features[:UTTERANCE]
    short = competitors(one, centroids, args.threads)
    short["ours"] = lambda: units.assign(one, prepared, threads=args.threads)
    work = gflop * UTTERANCE / len(features)
    times = bench.compare(
        f"one utterance of {UTTERANCE} frames, prepared", short, repeats=4 * args.repeats, work=work
    )
    bench.figure("utterance_ms", times["ours"].median * 1e3)
    bench.figure("utterance_gflops", work / times["ours"].median)
    bench.figure("utterance_vs_torch", times["ours"].speedup_over(times["torch addmm + argmin"]))


if __name__ == "__main__":
    main()
