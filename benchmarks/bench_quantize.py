"""Frames to units on a GPU: ours, exact and fast, beside cuBLAS's bare product, torch, flash-kmeans
and cuVS.

    python benchmarks/bench_quantize.py [--frames 1048576] [--repeats 9]

Times are the device's (CUDA events), calls in turns, inputs and outputs in device memory. Ours
includes everything between features and units, durations and row splits; cuBLAS's product is what
no answer can be had without. Answers are compared with float64 on all frames. The ceilings (matrix
rate, copy bandwidth) are measured in the same run. A peer that is not there is named in the result.
Without a GPU: one line, and exit status 2.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import torch
from harness import Benchmark, Times
from synthetic import UTTERANCE, codebook, speech_like
from torch import Tensor

from spire_dsu import units

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
DISTINCT = 65_536  # frames made on the host; the others are these under fresh noise
CHUNK_BYTES = 1 << 30  # of scores that a peer writes and reads
CUBLAS, TORCH, FLASH, CUVS = "cuBLAS product alone", "torch addmm + argmin", "flash-kmeans", "cuVS"

Calls = dict[str, Callable[[], Any]]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--frames", type=int, default=1 << 20)
    parser.add_argument("--centroids", type=int, default=5000)
    parser.add_argument("--dims", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def why_not() -> str | None:
    """Why nothing can be measured here, if so."""
    if not torch.cuda.is_available():
        return "bench_quantize needs an NVIDIA GPU: torch.cuda.is_available() is False"
    if importlib.util.find_spec("spire_dsu._cuda") is None:
        return "bench_quantize needs the CUDA kernels: this installation was built without nvcc"
    return None


def more_frames(base_TD: Tensor, count: int, seed: int, noise: float = 0.02) -> Tensor:
    """float32 [count, D]: `base_TD` over and over, each time under other noise."""
    generator = torch.Generator(base_TD.device).manual_seed(seed)
    result = base_TD.new_empty(count, base_TD.shape[1])
    for part in result.split(len(base_TD)):
        part.normal_(0.0, noise, generator=generator).add_(base_TD[: len(part)])
    return result


def row_splits(frames: int) -> Tensor:
    """int64 [N + 1]: utterances of 10 s, the last one shorter."""
    return torch.tensor([*range(0, frames, UTTERANCE), frames], dtype=torch.int64)


def disagreements(ids: Tensor, features: Tensor, centroids: Tensor, rows: int = 8192) -> int:
    """Labels whose float64 distance is more than float64's own rounding above the least one."""
    centred = centroids.double()
    mean = centred.mean(0)
    centred = centred - mean
    half = 0.5 * centred.square().sum(1)
    wrong = 0
    for block, chosen in zip(features.split(rows), ids.split(rows), strict=True):
        x = block.double() - mean
        scores = half - x @ centred.T
        margin = 1e-12 * (half.max() + x.norm(dim=1) * (2 * half.max()).sqrt())
        excess = scores.gather(1, chosen.long().unsqueeze(1)).squeeze(1) - scores.amin(1)
        wrong += int((excess > margin).sum())
    return wrong


def are_runs_of(ids: Tensor, splits: Tensor, ragged: tuple[Tensor, Tensor, Tensor]) -> bool:
    """Whether units, durations and row splits are the runs of `ids`."""
    truth = units.run_length(ids.cpu().numpy(), splits.cpu().numpy())
    return all(
        torch.equal(part.cpu(), torch.from_numpy(expected))
        for part, expected in zip(ragged, truth, strict=True)
    )


def torch_peer(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """addmm + argmin in the dtype of `x`, in chunks of rows."""
    c = centroids.to(x.dtype)
    norms = (0.5 * centroids.square().sum(1)).to(x.dtype)
    rows = max(1, CHUNK_BYTES // (c.shape[0] * c.element_size()))
    scores = x.new_empty(min(rows, len(x)), len(c))

    def call() -> Tensor:
        parts = [
            torch.addmm(norms, block, c.T, alpha=-1, out=scores[: len(block)]).argmin(1)
            for block in x.split(rows)
        ]
        return torch.cat(parts)

    return call


def cublas_product(x: Tensor, centroids: Tensor) -> Callable[[], None]:
    """x c^T in the dtype of `x`, written; whole where it fits into half of what is free."""
    c = centroids.to(x.dtype)
    room = torch.cuda.mem_get_info()[0] // 2 if x.is_cuda else CHUNK_BYTES
    rows = max(1, min(len(x), room // (len(c) * c.element_size())))
    out = x.new_empty(rows, len(c))

    def call() -> None:
        for block in x.split(rows):
            torch.mm(block, c.T, out=out[: len(block)])

    return call


def flash_kmeans_peer(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """flash-kmeans' assignment; norms are given to it for free."""
    from flash_kmeans.assign_euclid_triton import euclid_assign_triton

    points, c = x.unsqueeze(0), centroids.to(x.dtype).unsqueeze(0)
    points_sq = torch.cat([part.float().square().sum(1) for part in x.split(8192)]).unsqueeze(0)
    c_sq = c.float().square().sum(-1)
    out = torch.empty(points.shape[:2], dtype=torch.int32, device=x.device)
    return lambda: euclid_assign_triton(points, c, points_sq, out=out, c_sq=c_sq)[0]


def cuvs_peer(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """cuVS' KMeans.predict, which takes float32."""
    from cuvs.cluster import kmeans

    params = kmeans.KMeansParams(n_clusters=len(centroids))
    return lambda: torch.as_tensor(kmeans.predict(params, x, centroids)[0], device=x.device)


def present(
    peers: dict[str, Callable[[], Callable[[], Tensor]]],
) -> tuple[dict[str, Callable[[], Tensor]], dict[str, str]]:
    """The peers that run here, and of the others why not."""
    found, absent = {}, {}
    for name, make in peers.items():
        try:
            call = make()
            call()
            found[name] = call
        except Exception as error:  # whatever a foreign package fails with, the others go on
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found, absent


def judge(times: dict[str, Times]) -> dict[str, float]:
    """The figures that compare, as far as the peers ran; times by name of the call."""
    ours = times["ours fp16"]
    figures = {
        "share_of_cublas": ours.speedup_over(times[CUBLAS]),
        "exact_over_fast": times["ours fp16, fast"].speedup_over(times["ours fp32"]),
        "exact_over_fast_fp16": times["ours fp16, fast"].speedup_over(ours),
    }
    if TORCH in times:
        figures["vs_torch"] = ours.speedup_over(times[TORCH])
    if FLASH in times:
        figures["vs_flash_kmeans"] = ours.speedup_over(times[FLASH])
    if CUVS in times:
        figures["vs_cuvs"] = times["ours fp32"].speedup_over(times[CUVS])
    public = [figures[name] for name in ("vs_flash_kmeans", "vs_cuvs") if name in figures]
    return figures | ({"vs_best_public": min(public)} if public else {})


def device_seconds(call: Callable[[], object]) -> float:
    """What a call takes on the device."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    stop.record()
    stop.synchronize()
    return 1e-3 * start.elapsed_time(stop)


def measure_throughput(
    bench: Benchmark, frames: dict[str, Tensor], centroids: Tensor, repeats: int
) -> dict[str, Times]:
    """All frames at once: ours in every form, and the peers."""
    from spire_dsu import cuda_units

    x16 = frames["fp16"]
    splits = row_splits(len(x16)).to(x16.device)
    book = units.Codebook(centroids).on(x16.get_device())
    calls: Calls = {
        f"ours {name}" + ("" if exact else ", fast"): lambda x=x, exact=exact: cuda_units.quantize(
            x, splits, book, exact=exact
        )
        for name, x in frames.items()
        for exact in (True, False)
    }
    for name, x in frames.items():
        check_ours(bench, name, x, splits, centroids, book)
    calls |= {CUBLAS: cublas_product(x16, centroids)}
    calls |= check_peers(bench, x16, frames["fp32"], centroids)
    tflop = 2e-12 * len(x16) * centroids.numel()
    title = f"{len(x16)} frames"
    return bench.compare(
        title, calls, repeats=repeats, work=tflop, unit="TFLOP/s", timer=device_seconds
    )


def check_ours(
    bench: Benchmark, name: str, x: Tensor, splits: Tensor, centroids: Tensor, book: Any
) -> None:
    """Our answers for one dtype against float64, and the runs against the CPU's."""
    from spire_dsu import cuda_units

    for exact in (True, False):
        ids = cuda_units.assign(x, book, exact=exact)
        wrong = disagreements(ids, x, centroids)
        how = "exact" if exact else "fast"
        bench.console.print(f"ours {name}, {how}: {wrong} of {len(ids)} labels unlike float64's")
        if not exact:
            bench.figure(f"fast_agreement_{name}", 1 - wrong / len(ids))
            continue
        bench.figure("disagreements", bench.figures.get("disagreements", 0) + wrong)
        if not are_runs_of(ids, splits, cuda_units.quantize(x, splits, book)):
            raise SystemExit(f"ours {name}: the units are not the runs of the labels")


def check_peers(bench: Benchmark, x16: Tensor, x32: Tensor, centroids: Tensor) -> Calls:
    """The peers that run here, their answers compared; the others are named in the settings."""
    peers, absent = present(
        {
            TORCH: lambda: torch_peer(x16, centroids),
            FLASH: lambda: flash_kmeans_peer(x16, centroids),
            CUVS: lambda: cuvs_peer(x32, centroids),
        }
    )
    bench.settings["absent"] = absent
    for name, why in absent.items():
        bench.console.print(f"{name} was not measured: {why}")
    for name, peer in peers.items():
        wrong = disagreements(peer(), x32 if name == CUVS else x16, centroids)
        bench.console.print(f"{name}: {wrong} of {len(x16)} labels unlike float64's")
        bench.figure(f"wrong_{name.partition(' ')[0].replace('-', '_').lower()}", wrong)
    return dict(peers)


def measure_ceilings(bench: Benchmark, device: torch.device, repeats: int) -> None:
    """The matrix rate and the copy bandwidth of this machine, now."""
    size = 8192
    a, b = (torch.randn(size, size, device=device).half() for _ in range(2))
    out, source = torch.empty_like(a), torch.empty(1 << 32, dtype=torch.uint8, device=device)
    source.random_()
    target = torch.empty_like(source)
    calls = {
        "fp16 product, 8192^3": lambda: torch.mm(a, b, out=out),
        "copy of 4 GiB": lambda: target.copy_(source),
    }
    times = bench.compare("ceilings", calls, repeats=repeats, timer=device_seconds)
    product, copy = times.values()
    bench.figure("ceiling_tflops", 2e-12 * size**3 / product.median)
    bench.figure("ceiling_gb_per_s", 2e-9 * source.numel() / copy.median)


def measure_runs(bench: Benchmark, x16: Tensor, book: Any, whole: Times, repeats: int) -> None:
    """Run lengths alone, and what became of the rows."""
    from spire_dsu import _cuda, cuda_units

    stream = torch.cuda.current_stream().cuda_stream
    ids = cuda_units.assign(x16, book)
    splits = row_splits(len(ids)).to(ids.device)
    made = torch.empty_like(ids), torch.empty_like(ids), torch.empty_like(splits)
    faults, counts = splits.new_empty(3), splits.new_zeros(3)

    def run_length() -> None:
        _cuda.run_length(ids, splits, *made, faults, stream=stream)

    times = bench.compare(
        "run lengths alone", {"ours": run_length}, repeats=4 * repeats, timer=device_seconds
    )
    bench.figure("run_length_share", times["ours"].median / whole.median)
    _cuda.assign(x16, book.native, ids, faults, stream=stream, counts=counts)
    rescored, candidates, scanned = counts.tolist()
    bench.figure("rescored_share", rescored / len(ids))
    bench.figure("candidates_per_rescored", candidates / max(1, rescored))
    bench.figure("scanned_share", scanned / len(ids))


def measure_utterance(bench: Benchmark, x16: Tensor, book: Any, repeats: int) -> None:
    """One utterance: device time in a graph of many, and a whole call with its wait."""
    from spire_dsu import _cuda, cuda_units

    copies = 20
    parts = [x16[i * UTTERANCE : (i + 1) * UTTERANCE] for i in range(copies)]
    splits = row_splits(UTTERANCE).to(x16.device)
    made = [torch.empty(UTTERANCE, dtype=torch.int32, device=x16.device) for _ in range(2)]
    made_splits, faults = torch.empty_like(splits), splits.new_empty(3)

    def queue() -> None:
        stream = torch.cuda.current_stream().cuda_stream
        for x in parts:
            _cuda.quantize(x, splits, book.native, *made, made_splits, faults, stream=stream)

    queue()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        queue()
    title = f"{copies} utterances of {UTTERANCE} frames, one after another"
    times = bench.compare(
        title,
        {"ours, as a graph": graph.replay, "ours, call by call": queue},
        repeats=4 * repeats,
        timer=device_seconds,
    )
    graphed, called = times.values()
    bench.figure("us_500_frames", 1e6 * graphed.median / copies)
    bench.figure("us_500_frames_queued", 1e6 * called.median / copies)
    whole = bench.compare(
        f"one utterance of {UTTERANCE} frames, with the wait for its units",
        {"ours": lambda: cuda_units.quantize(parts[0], splits, book)},
        repeats=4 * repeats,
    )
    bench.figure("us_500_frames_waited", 1e6 * whole["ours"].median)


def measure(bench: Benchmark, args: argparse.Namespace) -> None:
    """Everything, the figures of the gates first."""
    device = torch.device("cuda", torch.cuda.current_device())
    host = codebook(args.centroids, speech_like(12 * args.centroids, args.dims, seed=77))
    centroids = torch.from_numpy(host).to(device)
    base = speech_like(min(DISTINCT, args.frames), args.dims, seed=args.seed)
    x32 = more_frames(torch.from_numpy(base).to(device), args.frames, args.seed)
    frames = {name: x32.to(dtype) for name, dtype in DTYPES.items()}
    measure_ceilings(bench, device, args.repeats)
    times = measure_throughput(bench, frames, centroids, args.repeats)
    for name, value in judge(times).items():
        bench.figure(name, value)
    ours = times["ours fp16"]
    tflops = 2e-12 * args.frames * centroids.numel() / ours.median
    bench.figure("ms_fp16", 1e3 * ours.median)
    bench.figure("tflops_fp16", tflops)
    bench.figure("share_of_ceiling", tflops / bench.figures["ceiling_tflops"])
    bench.figure("gb_per_s_fp16", 2e-9 * x32.numel() / ours.median)
    book = units.Codebook(centroids).on(device.index)
    measure_runs(bench, frames["fp16"], book, ours, args.repeats)
    measure_utterance(bench, frames["fp16"], book, args.repeats)


def main() -> int:
    """Measure and write; the exit status."""
    args = parse()
    if (why := why_not()) is not None:
        print(why, file=sys.stderr)
        return 2
    bench = Benchmark("quantize", settings={**vars(args), "data": "speech_like + noise"})
    try:
        measure(bench, args)
    finally:  # what was measured is kept when a later part fails
        bench.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
