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
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from encode_gpu_peers import B0, B1, B2, EPS, Encode
from encode_gpu_stages import measure_alternatives, measure_stages, useful_flops
from harness import Benchmark
from random_hubert import LAYER, build
from torch import Tensor
from transformers import HubertModel

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
    parser.add_argument(
        "--flac-rounds", type=int, default=40
    )  # hours, beside which a start is short
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
    for name, make in makers.items():
        try:
            peer = make()
            peer(waves)
            found[name] = peer
        except Exception as error:  # whatever a foreign package fails with, the others go on
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            bench.settings.setdefault("absent", {})[name] = why
            bench.console.print(f"{name} was not measured: {why}")
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
    if f"rtfx{suffix}" not in bench.figures:
        bench.figure(f"rtfx{suffix}", seconds / ours.median)
        bench.figure(f"flops_per_s{suffix}", useful_flops(waves) / ours.median)
        bench.figure(f"hours_for_42500{suffix}", HOURS * ours.median / seconds)
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


def from_flac(
    bench: Benchmark, model: spire_dsu.Discretizer, waves: Sequence[Tensor], rounds: int,
    repeats: int, decoders: int | None = None,
) -> None:  # fmt: skip
    """FLAC files to committed shards, over waveforms in device memory to units."""
    from encode_gpu_flac import FlacToShards  # needs soundfile, which a GPU's machine may lack

    with (
        tempfile.TemporaryDirectory() as folder,
        FlacToShards(
            model, waves, Path(folder), rounds=rounds, shards=repeats + 1, decoders=decoders
        ) as shards,
    ):
        held = [wave.to(model.encoder.device) for wave in shards.waves]
        book = spire_dsu.Codebook(model.codebook.centroids)
        times = bench.compare(
            "from FLAC to shards",
            {
                "model only": lambda: encode(model.encoder, book, held * rounds),
                "FLAC to shards": shards,
            },
            repeats=repeats, work=shards.seconds, unit="x real time",
        )  # fmt: skip
        bench.figure(
            "flac_over_model", 1 / times["model only"].speedup_over(times["FLAC to shards"])
        )
        bench.figure("flac_rtfx", shards.seconds / times["FLAC to shards"].median)
        alone = encode(model.encoder, book, held) * rounds
        bench.figure("flac_agreement", agreement(shards.frames(), alone))


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


@dataclass(frozen=True)
class Scene:
    """What is measured, and on what: waveforms on the device, but for `on_host`."""

    folder: Path
    model: HubertModel
    fast: Encoder
    exact: Encoder
    centroids: Tensor
    book: spire_dsu.Codebook
    even: list[Tensor]
    mixed: list[Tensor]
    on_host: list[Tensor]

    @classmethod
    def make(cls, args: argparse.Namespace, folder: Path) -> Scene:
        model = build(folder).cuda()
        fast = Encoder.from_pretrained(folder, layer=LAYER, device="cuda", precision="fast")
        exact = Encoder.from_pretrained(folder, layer=LAYER, device="cuda", precision="exact")
        if fast.normalize_eps != EPS:
            raise SystemExit("the peers normalise otherwise")
        centroids = some_centroids(fast, args.centroids, args.seed + 9)
        on_host = waveforms([15.0] * round(args.seconds / 15), args.seed)
        mixed = waveforms(mixed_lengths(args.seconds, args.seed), args.seed + 1)
        return cls(
            folder, model, fast, exact, centroids, spire_dsu.Codebook(centroids),
            [wave.cuda() for wave in on_host], [wave.cuda() for wave in mixed], on_host,
        )  # fmt: skip


def against(
    bench: Benchmark, scene: Scene, makers: dict[str, Callable[[], Encode]], repeats: int
) -> None:
    """Ours beside some peers, on even and on mixed lengths."""
    peers = present(bench, makers, scene.even[:4])
    truth = encode(scene.exact, scene.book, scene.even[:8])
    for name, peer in peers.items():
        bench.figure(f"agreement_{name.lower()}", agreement(peer(scene.even[:8]), truth))
    beside = " and ".join(peers) or "nobody"
    for title, waves, suffix in (("15 s", scene.even, ""), ("mixed", scene.mixed, "_mixed")):
        runs: dict[str, Callable[[], object]] = {
            OURS: lambda w=waves: encode(scene.fast, scene.book, w)
        }
        if waves is scene.even and "B2" not in makers:
            runs[HOST] = lambda: encode(scene.fast, scene.book, scene.on_host)
            runs[EXACT] = lambda: encode(scene.exact, scene.book, scene.even)
        runs |= {
            name: lambda p=peer, w=waves: (p(w), torch.cuda.synchronize())
            for name, peer in peers.items()
            if waves is scene.even or name != "B0"
        }
        compare(bench, f"{title}, beside {beside}", runs, waves, repeats, suffix)


def stages(bench: Benchmark, scene: Scene, repeats: int) -> None:
    """The stage table, and the share of the matrix rate of the same minute."""
    rate = measure_stages(bench, scene.fast, scene.book, scene.even, repeats)
    for suffix in ("", "_mixed"):
        if (achieved := bench.figures.get(f"flops_per_s{suffix}")) is not None:
            bench.figure(f"share_of_matrix_rate{suffix}", achieved / rate)


def flac(bench: Benchmark, scene: Scene, args: argparse.Namespace) -> None:
    """End to end, with the processes that `convert` decodes in."""
    model = spire_dsu.Discretizer.from_parts(
        encoder=scene.folder, centroids=scene.centroids.cpu().numpy(), layer=LAYER,
        device="cuda", precision="fast",
    )  # fmt: skip
    from_flac(bench, model, scene.on_host, args.flac_rounds, min(3, args.repeats))


def attempt(bench: Benchmark, name: str, part: Callable[[], None]) -> None:
    """One part; what it finds is written at once, and its failure costs no other part."""
    try:
        part()
    except Exception as error:
        traceback.print_exc()
        failed = bench.settings.setdefault("failed", {})
        failed[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    bench.save()


def measure(bench: Benchmark, args: argparse.Namespace, folder: Path) -> None:
    """Everything: the figures of the gates first, what may take long to compile last."""
    scene, repeats = Scene.make(args, folder), args.repeats
    model, centroids = scene.model, scene.centroids
    half = torch.float16
    plain = {"B0": lambda: B0(model, centroids), "B1": lambda: B1(model, centroids, half)}
    truth = encode(scene.exact, scene.book, scene.even)
    parts: dict[str, Callable[[], None]] = {
        "B0 and B1": lambda: against(bench, scene, plain, repeats),
        "stages": lambda: stages(bench, scene, repeats),
        "neighbours": lambda: check_neighbours(bench, scene.fast, scene.book, args.seed + 2),
        "agreement": lambda: check_agreement(
            bench, "", folder, LAYER, scene.book, truth, scene.even
        ),
        "miniature": lambda: check_miniature(bench, args.seed + 3),
        "alternatives": lambda: measure_alternatives(bench, scene.fast, repeats),
        "from FLAC": lambda: flac(bench, scene, args),
        "B2": lambda: against(bench, scene, {"B2": lambda: B2(model, centroids, half)}, repeats),
    }
    for name, part in parts.items():
        attempt(bench, name, part)
    bench.figure("peak_gib", torch.cuda.max_memory_allocated() / 2**30)


def main() -> int:
    """Measure and write; the exit status."""
    args = parse()
    if (why := why_not()) is not None:
        print(why, file=sys.stderr)
        return 2
    bench = Benchmark("encode_gpu", settings={**vars(args), "data": "voiced noise, random weights"})
    with tempfile.TemporaryDirectory() as folder:
        measure(bench, args, Path(folder))
    bench.save()
    return int(bool({"absent", "failed"} & bench.settings.keys()))


if __name__ == "__main__":
    sys.exit(main())
