"""Whole encode on the CPU, waveform in, units and durations out: ours beside what people run.

    OMP_NUM_THREADS=2 python benchmarks/bench_encode.py [--utterances 4] [--repeats 3]

HuBERT-large's shape up to layer 22, with random weights (speed does not depend on them), and 5,000
centroids. The peers:

- fairseq's way: one file at a time, float32, then distances in NumPy. transformers' HubertModel
  stands in for fairseq's model; both compute the same.
- transformers: HubertModel cut to 22 layers, SDPA, distances in torch, in float32 and bfloat16, in
  batches sorted by length with a mask, and one utterance at a time. Figures are against whichever
  of the two is faster in that turn.

Every competitor's units are compared with those of float32 features and float64 distances. "Clear"
frames are those whose two nearest centroids lie further apart than float32 noise can move them.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
import threadpoolctl
import torch
from harness import Benchmark, Times
from random_hubert import LAYER, build
from transformers import HubertModel

import spire_dsu
from spire_dsu import _core
from spire_dsu.features import Encoder
from spire_dsu.types import Float32, Units

EPS = 1e-5
BATCH_SECONDS = 60
NOISE = 1e-4  # relative gap of two squared distances that float32 features can close
SENTENCES = [
    "The north wind and the sun were disputing which of them was the stronger, when a traveller "
    "came along, wrapped in a warm cloak, and they agreed to let him decide.",
    "Several thousand people visited the museum in the spring, although the weather was unusually "
    "cold, and most of the roads from the coast were blocked by snow.",
    "She wrote down every number that the old machine printed, compared the columns twice, and "
    "found that only the seventh of them had been added up correctly.",
    "When the ferry finally reached the island, the harbour lay in fog, so the captain asked two "
    "of the younger sailors to row ahead with a lantern and a bell.",
]
VOICES = ["en-us", "en-gb", "en-us+f3", "en-gb-scotland", "en-us+m4", "en-gb+f1"]

Encode = Callable[[], list[Units]]


def speech(count: int, seed: int) -> list[Float32]:
    """Utterances of 8 to 14 s: espeak-ng where it is installed, else noise shaped like speech."""
    if shutil.which("espeak-ng") is None:
        rng = np.random.default_rng(seed)
        return [_shaped_noise(rng.uniform(9, 14), rng) for _ in range(count)]
    return [_spoken(index + seed) for index in range(count)]


def _spoken(index: int) -> Float32:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        voice, pace = VOICES[index % len(VOICES)], str(130 + 7 * (index % 5))
        pitch, text = str(30 + 11 * (index % 6)), SENTENCES[index % len(SENTENCES)]
        command = ["espeak-ng", "-v", voice, "-s", pace, "-p", pitch, "-w", str(file), text]
        subprocess.run(command, check=True)
        samples, rate = soundfile.read(file, dtype="float32")
    wave = soxr.resample(samples, rate, 16_000)
    noise = np.random.default_rng(index).normal(0, 1e-3, wave.size)  # no digital silence
    return np.asarray(wave + noise, np.float32)


def _shaped_noise(seconds: float, rng: np.random.Generator) -> Float32:
    time = np.arange(int(seconds * 16_000)) / 16_000
    tones = sum(np.sin(2 * np.pi * 140 * n * time + rng.uniform(0, 6)) / n for n in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)), 0, 1)
    return np.asarray(0.1 * tones * envelope + rng.normal(0, 0.01, time.size), np.float32)


class Transformers:
    """HubertModel cut to layer 22, as one would run it."""

    def __init__(self, model: HubertModel, centroids: Float32, dtype: torch.dtype) -> None:
        self.model = model if dtype == torch.float32 else copy.deepcopy(model).to(dtype)
        self.dtype = dtype
        self.centroids = torch.from_numpy(centroids).to(dtype)
        self.half_norms = 0.5 * torch.from_numpy(centroids).square().sum(1)

    def features(self, waves: Sequence[Float32]) -> list[torch.Tensor]:
        """[T, D] of each, from one batch; a batch of one needs no padding and no mask."""
        normal = [(w - w.mean()) / np.sqrt(w.var() + EPS) for w in waves]
        lengths = [w.size for w in waves]
        batch = torch.zeros(len(waves), max(lengths))
        for row, wave in zip(batch, normal, strict=True):
            row[: wave.size] = torch.from_numpy(wave)
        mask = (torch.arange(batch.shape[1]) < torch.tensor(lengths)[:, None]).long()
        with torch.inference_mode():
            found = self.model(
                batch.to(self.dtype), attention_mask=mask if len(waves) > 1 else None
            ).last_hidden_state
        frames = [spire_dsu.types.num_frames(length) for length in lengths]
        return [rows[:count] for rows, count in zip(found, frames, strict=True)]

    def units(self, features: torch.Tensor) -> Units:
        """Distances with sums in float32, as `addmm` and `argmin`; runs merged."""
        scores = self.half_norms - (features @ self.centroids.T).float()
        return merge(scores.argmin(1).numpy())

    def one_by_one(self, waves: Sequence[Float32]) -> list[Units]:
        return [self.units(self.features([wave])[0]) for wave in waves]

    def in_batches(self, waves: Sequence[Float32]) -> list[Units]:
        order = sorted(range(len(waves)), key=lambda i: waves[i].size)
        found: dict[int, Units] = {}
        while order:
            longest = waves[order[-1]].size / 16_000
            size = max(1, int(BATCH_SECONDS / longest))
            some, order = order[-size:], order[:-size]
            for i, features in zip(some, self.features([waves[i] for i in some]), strict=True):
                found[i] = self.units(features)
        return [found[i] for i in range(len(waves))]

    def fairseq(self, waves: Sequence[Float32]) -> list[Units]:
        """One file at a time, features to NumPy, and simple_kmeans' matrix of all distances."""
        centroids = self.centroids.numpy()
        norms = (centroids**2).sum(1)
        found = []
        for wave in waves:
            x = self.features([wave])[0].numpy()
            distances = (x**2).sum(1, keepdims=True) - 2 * np.matmul(x, centroids.T) + norms
            found.append(merge(distances.argmin(1)))
        return found


def merge(ids: np.ndarray) -> Units:
    """Runs of one unit merged, by itertools, as the released code does it."""
    runs = [(unit, len(list(group))) for unit, group in itertools.groupby(ids.tolist())]
    units, durations = np.array(runs, np.int32).reshape(-1, 2).T
    return Units(units.copy(), durations.copy())


def ours(encoder: Encoder, codebook: spire_dsu.Codebook, waves: Sequence[Float32]) -> list[Units]:
    """The public parts: features as a stream, units as they come."""
    found = []
    for block in encoder.stream(waves):
        units, durations, _ = spire_dsu.quantize(block.features, block.row_splits, codebook)
        found.append(Units(units.numpy(), durations.numpy()))
    return found


def frames_of(rows: Sequence[Units]) -> np.ndarray:
    return np.concatenate([row.to_frames() for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=4)
    parser.add_argument("--centroids", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=_core.default_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with threadpoolctl.threadpool_limits(args.threads), tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


def run(args: argparse.Namespace, folder: Path) -> None:
    waves = speech(args.utterances, seed=0)
    seconds = sum(wave.size for wave in waves) / 16_000
    bench = Benchmark("encode", settings={**vars(args), "seconds": round(seconds, 2)})
    model = build(folder)
    encoders = {
        precision: Encoder.from_pretrained(
            folder, layer=LAYER, normalize_eps=EPS, device="cpu", precision=precision
        )
        for precision in ("exact", "fast")
    }
    centroids = some_centroids(encoders["fast"], args.centroids)
    codebook = spire_dsu.Codebook(centroids)
    single = Transformers(model, centroids, torch.float32)
    half = Transformers(model, centroids, torch.bfloat16)
    runs: dict[str, Encode] = {
        "ours, fast": lambda: ours(encoders["fast"], codebook, waves),
        "ours, exact": lambda: ours(encoders["exact"], codebook, waves),
        "transformers bfloat16": lambda: half.one_by_one(waves),
        "transformers bfloat16, batches": lambda: half.in_batches(waves),
        "transformers float32": lambda: single.one_by_one(waves),
        "transformers float32, batches": lambda: single.in_batches(waves),
        "fairseq's way": lambda: single.fairseq(waves),
    }
    check(bench, runs, single, centroids, waves)
    alone = [ours(encoders["exact"], codebook, [wave])[0] for wave in reversed(waves)]
    together = runs["ours, exact"]()
    moved = int((frames_of(together) != frames_of(alone[::-1])).sum())
    bench.figure("moved_by_neighbours", moved)

    times = bench.compare(
        f"{len(waves)} utterances, {seconds:.0f} s",
        runs, repeats=args.repeats, warmup=0, work=seconds, unit="x real time",
    )  # fmt: skip
    float32 = faster(times, "transformers float32", "transformers float32, batches")
    bfloat16 = faster(times, "transformers bfloat16", "transformers bfloat16, batches")
    fast, exact = times["ours, fast"], times["ours, exact"]
    bench.figure("exact_vs_transformers_fp32", exact.speedup_over(float32))
    bench.figure("fast_vs_transformers_fp32", fast.speedup_over(float32))
    bench.figure("fast_vs_transformers_bf16", fast.speedup_over(bfloat16))
    bench.figure("vs_b0", fast.speedup_over(times["fairseq's way"]))
    bench.figure("exact_vs_b0", exact.speedup_over(times["fairseq's way"]))
    bench.figure("x_real_time", seconds / fast.median)
    bench.figure("x_real_time_exact", seconds / exact.median)
    bench.save()


def some_centroids(encoder: Encoder, count: int) -> Float32:
    """As many frames of other utterances, spread over them."""
    frames: list[Float32] = []
    for wave in speech(count // 400 + 2, seed=100):
        frames.append(encoder(wave).numpy())
    every = np.concatenate(frames)
    if len(every) < count:
        raise SystemExit(f"only {len(every)} frames for {count} centroids")
    return every[np.linspace(0, len(every) - 1, count).astype(int)]


def check(
    bench: Benchmark,
    runs: dict[str, Encode],
    single: Transformers,
    centroids: Float32,
    waves: Sequence[Float32],
) -> None:
    """What each answers, against float32 features and float64 distances. Also the warm-up."""
    features = torch.cat([single.features([wave])[0] for wave in waves]).double()
    distances = torch.cdist(features, torch.from_numpy(centroids).double()) ** 2
    (best, second), places = (part.T for part in distances.topk(2, dim=1, largest=False))
    clear = ((second - best) > NOISE * second).numpy()
    truth = places[0].numpy()
    answers = {name: frames_of(run()) for name, run in runs.items()}
    for name, answer in answers.items():
        same = answer == truth
        bench.console.print(
            f"{name}: {same.mean():.3%} of {truth.size} frames as the reference, "
            f"{same[clear].mean():.3%} of {clear.sum()} clear ones"
        )
    bench.figure("disagreements_exact", int((answers["ours, exact"] != truth)[clear].sum()))
    bench.figure("agreement_fast", (answers["ours, fast"] == truth).mean())
    half = answers["transformers bfloat16"]
    bench.figure("agreement_transformers_bf16", (half == truth).mean())
    batches = answers["transformers bfloat16, batches"]
    bench.figure("transformers_bf16_moved_by_neighbours", int((half != batches).sum()))


def faster(times: dict[str, Times], one: str, other: str) -> Times:
    """The better of two ways to run the same peer, turn by turn."""
    pairs = zip(times[one].seconds, times[other].seconds, strict=True)
    return Times(tuple(min(pair) for pair in pairs))


if __name__ == "__main__":
    main()
