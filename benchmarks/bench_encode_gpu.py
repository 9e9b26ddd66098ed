"""Whole encode on a GPU, waveform in, units out: ours beside what people run and PyTorch's best.

    python benchmarks/bench_encode_gpu.py [--seconds 1350] [--repeats 5]

HuBERT-large's shape up to layer 22, random weights (speed does not depend on them), 5,000
centroids, waveforms in device memory, 15 s each and of mixed lengths. The peers are in
`encode_gpu_peers`; one that does not run is named in the result. Also: the device time of each
stage and of what else could do it, with the matrix rate of the same run; how often half precision
gives float32's unit; and whether any of 10,000 encodings of an utterance among others differs from
the one of it alone. Without a GPU: one line, and exit status 2.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from encode_gpu_peers import B0, B1, B2, EPS, Encode
from encode_gpu_stages import measure_alternatives, measure_stages, useful_flops
from harness import Benchmark
from random_hubert import LAYER, build
from torch import Tensor

import spire_dsu
from spire_dsu.features import Encoder
from spire_dsu.hubert.packer import Packer
from spire_dsu.presets import resolve
from spire_dsu.types import Float32

RATE, HOURS = 16_000, 42_500
OURS, EXACT, HOST = "ours, fast", "ours, exact", "ours, fast, from host memory"
COMPARISONS = 10_000


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1_350.0)
    parser.add_argument("--centroids", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def why_not() -> str | None:
    """Why nothing can be measured here, if so."""
    if not torch.cuda.is_available():
        return "bench_encode_gpu needs an NVIDIA GPU: torch.cuda.is_available() is False"
    for name, what in {"spire_dsu._cuda": "the CUDA kernels", "triton": "Triton"}.items():
        if importlib.util.find_spec(name) is None:
            return f"bench_encode_gpu needs {what}: there is no module {name}"
    return None


def waveforms(lengths: Sequence[float], seed: int) -> list[Tensor]:
    """float32 on the host: noise under syllables' envelope, of any loudness; no two are alike."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(_shaped(round(each * RATE), rng)) for each in lengths]


def _shaped(samples: int, rng: np.random.Generator) -> Float32:
    time = np.arange(samples, dtype=np.float32) / RATE
    pitch = rng.uniform(90, 250)
    voice = sum(np.sin(2 * np.pi * pitch * n * time + rng.uniform(0, 6)) / n for n in range(1, 9))
    wave = voice * np.clip(np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)), 0, 1)
    wave = wave + rng.normal(0, 0.1, samples)
    return np.asarray(wave * rng.uniform(0.02, 0.3), np.float32)


def mixed_lengths(seconds: float, seed: int) -> list[float]:
    """Like GigaSpeech: 5.5 s in the mean, a tail to 30 s."""
    rng = np.random.default_rng(seed)
    found: list[float] = []
    while sum(found) < seconds:
        found.append(float(np.clip(rng.lognormal(1.45, 0.75), 0.4, 30)))
    return found


def encode(encoder: Encoder, book: spire_dsu.Codebook, waves: Sequence[Tensor]) -> list[Tensor]:
    """The public parts: features as a stream, units as they come; one unit for each frame."""
    quantizer = spire_dsu.StreamingQuantizer(book)
    found: list[Tensor] = []

    def take(units: np.ndarray, durations: np.ndarray, splits: np.ndarray) -> None:
        for start, stop in itertools.pairwise(splits):
            row = np.repeat(units[start:stop], durations[start:stop])
            found.append(torch.from_numpy(row))

    for block in encoder.stream(waves):
        take(
            *quantizer.push(
                block.features, block.row_splits, last_row_continues=block.last_row_continues
            )
        )
    take(*quantizer.finish())
    return found


def some_centroids(encoder: Encoder, count: int, seed: int) -> Tensor:
    """float32 [K, D]: as many frames of other utterances, spread over them."""
    waves = waveforms([10.0] * (count // 300 + 2), seed)
    frames = torch.cat([block.features for block in encoder.stream(waves)])
    return frames[
        torch.linspace(0, len(frames) - 1, count, device=frames.device).long()
    ].contiguous()


def agreement(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """The share of frames with the same unit."""
    a, b = (torch.cat([row.cpu().int() for row in rows]) for rows in (ours, truth))
    return float((a == b).double().mean())


def present(
    bench: Benchmark, makers: dict[str, Callable[[], Encode]], waves: Sequence[Tensor]
) -> dict[str, Encode]:
    """The peers that run here; of the others the result says why not."""
    found: dict[str, Encode] = {}
    absent: dict[str, str] = {}
    for name, make in makers.items():
        try:
            peer = make()
            peer(waves)
            found[name] = peer
        except Exception as error:  # whatever a foreign package fails with, the others go on
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            bench.console.print(f"{name} was not measured: {absent[name]}")
    bench.settings["absent"] = absent
    return found


def compare(
    bench: Benchmark, title: str, runs: dict[str, Callable[[], object]], waves: Sequence[Tensor],
    repeats: int, suffix: str,
) -> None:  # fmt: skip
    """Times of ours and the peers on the same audio, and the figures that follow."""
    seconds = sum(len(wave) for wave in waves) / RATE
    times = bench.compare(title, runs, repeats=repeats, work=seconds, unit="x real time")
    ours = times[OURS]
    for name in ("B0", "B1", "B2"):
        if name in times:
            bench.figure(f"vs_{name.lower()}{suffix}", ours.speedup_over(times[name]))
    bench.figure(f"rtfx{suffix}", seconds / ours.median)
    bench.figure(f"flops_per_s{suffix}", useful_flops(waves) / ours.median)
    if EXACT in times:
        bench.figure(f"exact_rtfx{suffix}", seconds / times[EXACT].median)
    if HOST in times:
        bench.figure(f"host_over_device{suffix}", ours.median / times[HOST].median)


def check_neighbours(
    bench: Benchmark, encoder: Encoder, book: spire_dsu.Codebook, seed: int
) -> None:
    """10,000 encodings among others, in random order, against each utterance alone."""
    rng = np.random.default_rng(seed)
    waves = [wave.cuda() for wave in waveforms(rng.uniform(0.4, 8.0, 150), seed)]
    alone = [encode(encoder, book, [wave])[0] for wave in waves]
    done = moved = frames = 0
    while done < COMPARISONS:
        order = rng.integers(0, len(waves), 500)
        for i, row in zip(order, encode(encoder, book, [waves[i] for i in order]), strict=True):
            moved += int((row != alone[i]).sum())
            frames += len(row)
        done += len(order)
    bench.figure("moved_by_neighbours", moved)
    bench.figure("comparisons", done)
    bench.figure("frames_compared", frames)


def in_bfloat16(encoder: Encoder) -> Encoder:
    """The same encoder with the pass that is kept for overflows as its only one."""
    packer = encoder._packer
    assert packer is not None
    wide = packer._make_wide
    encoder._packer = Packer(wide(), wide, packer.shape, encoder.device)
    return encoder


def check_agreement(
    bench: Benchmark, name: str, folder: Path, layer: int, book: spire_dsu.Codebook,
    truth: list[Tensor], waves: Sequence[Tensor],
) -> None:  # fmt: skip
    """How often float16 and bfloat16 give float32's unit."""
    fast = Encoder.from_pretrained(folder, layer=layer, device="cuda", precision="fast")
    bench.figure(f"agreement_fp16{name}", agreement(encode(fast, book, waves), truth))
    bench.figure(f"overflows{name}", fast.overflows)
    bench.figure(f"agreement_bf16{name}", agreement(encode(in_bfloat16(fast), book, waves), truth))


def check_miniature(bench: Benchmark, seed: int) -> None:
    """The bundled model: float16, bfloat16, and float32 on the two devices."""
    mini = spire_dsu.Discretizer.from_pretrained("mini", device="cuda", precision="exact")
    host = spire_dsu.Discretizer.from_pretrained("mini", device="cpu", precision="exact")
    waves = waveforms([8.0] * 20, seed)
    book = spire_dsu.Codebook(mini.codebook.centroids)
    truth = encode(mini.encoder, book, waves)
    on_host = encode(host.encoder, book, waves)
    bench.figure("exact_gpu_against_cpu_mini", agreement(truth, on_host))
    found = resolve("mini")
    check_agreement(bench, "_mini", found.encoder_folder(), found.config.layer, book, truth, waves)


def measure(bench: Benchmark, args: argparse.Namespace, folder: Path) -> None:
    """Everything, the figures of the gates first."""
    model = build(folder).cuda()
    fast = Encoder.from_pretrained(folder, layer=LAYER, device="cuda", precision="fast")
    exact = Encoder.from_pretrained(folder, layer=LAYER, device="cuda", precision="exact")
    if fast.normalize_eps != EPS:
        raise SystemExit("the peers normalise otherwise")
    centroids = some_centroids(fast, args.centroids, args.seed + 9)
    book = spire_dsu.Codebook(centroids)
    on_host = waveforms([15.0] * round(args.seconds / 15), args.seed)
    even = [wave.cuda() for wave in on_host]
    mixed = [w.cuda() for w in waveforms(mixed_lengths(args.seconds, args.seed), args.seed + 1)]
    makers: dict[str, Callable[[], Encode]] = {
        "B0": lambda: B0(model, centroids),
        "B1": lambda: B1(model, centroids, torch.float16),
        "B2": lambda: B2(model, centroids, torch.float16),
    }
    peers = present(bench, makers, even[:4])
    truth = encode(exact, book, even)
    bench.figure("agreement_fp16", agreement(encode(fast, book, even), truth))
    for name, peer in peers.items():
        bench.figure(f"agreement_{name.lower()}", agreement(peer(even[:8]), truth[:8]))
    for title, waves, suffix in (("15 s each", even, ""), ("mixed lengths", mixed, "_mixed")):
        runs: dict[str, Callable[[], object]] = {OURS: lambda w=waves: encode(fast, book, w)}
        if waves is even:
            runs[HOST] = lambda: encode(fast, book, on_host)
            runs[EXACT] = lambda: encode(exact, book, even)
        runs |= {
            name: lambda p=peer, w=waves: (p(w), torch.cuda.synchronize())
            for name, peer in peers.items()
            if waves is even or name != "B0"
        }
        compare(bench, title, runs, waves, args.repeats, suffix)
    bench.figure("hours_for_42500", HOURS / bench.figures["rtfx"])
    rate = measure_stages(bench, fast, book, even, args.repeats)
    bench.figure("share_of_matrix_rate", bench.figures["flops_per_s"] / rate)
    bench.figure("share_of_matrix_rate_mixed", bench.figures["flops_per_s_mixed"] / rate)
    check_neighbours(bench, fast, book, args.seed + 2)
    measure_alternatives(bench, fast, args.repeats)
    check_agreement(bench, "", folder, LAYER, book, truth, even)
    check_miniature(bench, args.seed + 3)
    bench.figure("peak_gib", torch.cuda.max_memory_allocated() / 2**30)


def main() -> int:
    """Measure and write; the exit status."""
    args = parse()
    if (why := why_not()) is not None:
        print(why, file=sys.stderr)
        return 2
    bench = Benchmark("encode_gpu", settings={**vars(args), "data": "voiced noise, random weights"})
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(bench, args, Path(folder))
    finally:  # what was measured is kept when a later part fails
        bench.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
