"""Where a pack's time goes on the device, and what else could do each stage.

The stage table runs one full pack without its graph, with CUDA events around every kernel. Times
are medians; a stage's rate counts useful operations only, those of `useful_flops`.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812, its common name
from harness import Benchmark
from rich.table import Table
from torch import Tensor

import spire_dsu
from spire_dsu.features import Encoder
from spire_dsu.hubert import packer as packing_of_waves
from spire_dsu.hubert.arithmetic import plain_arithmetic
from spire_dsu.hubert.packed import PackedForward, PackInput
from spire_dsu.hubert.packer import PackPiece
from spire_dsu.types import num_frames

LAYERS, D, INNER, CENTROIDS, RATE = 22, 1024, 4096, 5_000, 16_000
CONVOLUTIONS = ((1, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2)  # width in, kernel, stride
STAGES = ("extractor", "positional convolution", "linears", "attention", "elementwise")


def stage_flops(samples: int) -> dict[str, float]:
    """Operations that one utterance needs, by stage; a multiply-add is two."""
    frames, rows, extractor = num_frames(samples), samples, 0.0
    for width, kernel, stride in CONVOLUTIONS:
        rows = (rows - kernel) // stride + 1
        extractor += 2.0 * rows * 512 * width * kernel
    return {
        "extractor": extractor,
        "positional convolution": 2.0 * frames * D * (D // 16) * 128,
        "linears": 2.0 * frames * (512 * D + LAYERS * (4 * D * D + 2 * D * INNER)),
        "attention": 4.0 * LAYERS * frames * frames * D,
        "k-means": 2.0 * frames * D * CENTROIDS,
    }


def useful_flops(waves: Sequence[Tensor]) -> float:
    """Operations that these utterances need, in all."""
    return sum(sum(stage_flops(len(wave)).values()) for wave in waves)


def device_seconds(call: Callable[[], object], repeats: int = 7) -> float:
    """The median time of a call on the device."""
    found = []
    for turn in range(repeats + 2):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        stop.record()
        stop.synchronize()
        if turn > 1:
            found.append(1e-3 * start.elapsed_time(stop))
    return statistics.median(found)


def stage_of(name: str, args: tuple[Any, ...]) -> str:
    """The stage that a call of a kernel belongs to."""
    if name == "product":
        weight, gelu = args[1], args[3]
        if weight.dim() == 3:
            return "positional convolution"
        return "linears" if gelu else "extractor"
    return {
        "moments": "extractor", "first_layer": "extractor", "norm_gelu": "extractor",
        "spaced": "positional convolution", "add_spaced": "positional convolution",
        "linear": "linears", "attention": "attention",
    }.get(name, "elementwise")  # fmt: skip


class Timed:
    """The kernels with events around each call."""

    def __init__(self, kernels: ModuleType) -> None:
        self._kernels = kernels
        self.events: list[tuple[str, str, Any, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kernel = getattr(self._kernels, name)

        def call(*args: Any) -> Any:
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            result = kernel(*args)
            stop.record()
            self.events.append((stage_of(name, args), name, start, stop))
            return result

        return call


def one_pack(
    encoder: Encoder, waves: Sequence[Tensor]
) -> tuple[PackedForward, PackInput, list[Tensor]]:
    """The pass, a full pack for it on the device, and the waves that it holds."""
    packer = encoder._packer
    assert packer is not None, "this encoder does not pack"
    shape, room, some = packer.shape, packer.shape.frames, []
    for wave in waves:
        room -= shape.slots(len(wave))
        if room < 0:
            break
        some.append(wave)
    pieces = [PackPiece(wave.cpu(), None, 0, num_frames(len(wave))) for wave in some]
    host = PackInput.empty(shape, torch.device("cpu"), pinned=True)
    packing_of_waves.write(host, shape, pieces)
    pack = PackInput.empty(shape, encoder.device)
    pack.copy_from(host)
    torch.cuda.synchronize()
    return packer._forward, pack, some


def measure_stages(
    bench: Benchmark, encoder: Encoder, book: Any, waves: Sequence[Tensor], repeats: int
) -> float:
    """The stage table; returns the matrix rate of this machine, FLOP/s in float16, now."""
    size = 8192
    a, b = (torch.randn(size, size, device="cuda").half() for _ in range(2))
    rate = 2.0 * size**3 / device_seconds(lambda: torch.mm(a, b), repeats)
    forward, pack, some = one_pack(encoder, waves)
    shape = encoder._packer.shape  # type: ignore[union-attr]
    found: dict[str, list[float]] = defaultdict(list)
    plain = forward._kernels
    with plain_arithmetic("cuda"):
        for turn in range(repeats + 2):
            timed = Timed(plain)
            forward._kernels = timed  # type: ignore[assignment]
            rows, _ = forward(shape, pack)
            torch.cuda.synchronize()
            forward._kernels = plain
            if turn > 1:
                for stage in STAGES:
                    events = [each for each in timed.events if each[0] == stage]
                    found[stage].append(sum(1e-3 * e[2].elapsed_time(e[3]) for e in events))
    frames = sum(num_frames(len(wave)) for wave in some)
    splits = [0]
    for wave in some:
        splits.append(splits[-1] + num_frames(len(wave)))
    kept = rows[:frames].clone()
    host = PackInput.empty(shape, torch.device("cpu"), pinned=True)
    times = {stage: statistics.median(found[stage]) for stage in STAGES}
    times["k-means"] = device_seconds(lambda: spire_dsu.quantize(kept, splits, book), repeats)
    times["copies"] = device_seconds(lambda: (pack.copy_from(host), kept.clone()), repeats)
    report(bench, times, some, rate)
    return rate


def report(bench: Benchmark, times: dict[str, float], waves: Sequence[Tensor], rate: float) -> None:
    """Prints and records microseconds per second of audio, and rates."""
    seconds = sum(len(wave) for wave in waves) / RATE
    total = sum(times.values())
    table = Table("stage", "us per s", "share", "TFLOP/s", title="stages", title_justify="left")
    for stage, time in times.items():
        flops = sum(stage_flops(len(wave)).get(stage, 0.0) for wave in waves)
        table.add_row(
            stage,
            f"{1e6 * time / seconds:.2f}",
            f"{time / total:.1%}",
            f"{1e-12 * flops / time:.0f}",
        )
        bench.figure(f"us_{stage.replace(' ', '_').replace('-', '')}", 1e6 * time / seconds)
    bench.console.print(table)
    bench.figure("us_all_stages", 1e6 * total / seconds)
    bench.figure("non_encoder_share", (times["k-means"] + times["copies"]) / total)
    bench.figure("matrix_tflops", 1e-12 * rate)


# Other tiles of the product: two blocks a multiprocessor, of which one multiplies while the other
# takes its GELU; one more step of the sum on its way; the other way round.
TILES = {
    "128 x 128, two blocks": {"BM": 128, "BN": 128, "BK": 64, "num_warps": 4, "num_stages": 3},
    "64 x 256, two blocks": {"BM": 64, "BN": 256, "BK": 64, "num_warps": 4, "num_stages": 2},
    "128 x 256, four steps": {"BM": 128, "BN": 256, "BK": 64, "num_warps": 8, "num_stages": 4},
    "256 x 128": {"BM": 256, "BN": 128, "BK": 64, "num_warps": 8, "num_stages": 3},
}


def tiled(tile: dict[str, int], call: Callable[[], object]) -> Callable[[], object]:
    """The call with another tile for products."""
    from spire_dsu.hubert import kernels_triton as ours

    def run() -> object:
        used, ours.LARGE = ours.LARGE, tile
        try:
            return call()
        finally:
            ours.LARGE = used

    return run


def measure_alternatives(bench: Benchmark, encoder: Encoder, repeats: int) -> None:
    """Each stage's product at its own size: what is used, and what else there is."""
    from spire_dsu.hubert import kernels_triton as ours

    frames = encoder._packer.shape.frames  # type: ignore[union-attr]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device="cuda", dtype=torch.float16)

    rows, wide = normal(frames, D), normal(frames, INNER)
    up, down, qkv = normal(INNER, D), normal(D, INNER), normal(3 * D, D)
    b1, b3, b4 = normal(D), normal(3 * D), normal(INNER)
    audio = normal(frames * 32 + 32, 512)
    count = (len(audio) - 3) // 2 + 1
    windows = audio.as_strided((count, 1536), (1024, 1))
    conv, c_bias = normal(512, 512, 3), normal(512)
    flat = conv.transpose(1, 2).flatten(1).contiguous()
    image = audio.t()[None, :, None]  # channels last, as it lies
    kernel = conv[:, :, None].contiguous(memory_format=torch.channels_last)
    laid, toeplitz = normal(16, frames + 136, 64), normal(16, 512, 8640)
    p_bias = normal(16, 512)
    blocks = laid.as_strided((16, frames // 8, 8640), (laid.stride(0), 512, 1))
    grouped, signal = normal(D, 64, 128), normal(1, D, frames + 127)
    linear_flops = 2.0 * frames * D * INNER
    conv_flops, pos_flops = 2.0 * count * 512 * 1536, 2.0 * frames * D * 64 * 128
    calls: dict[str, tuple[float, Callable[[], object]]] = {
        "up + GELU, fused (used)": (linear_flops, lambda: ours.product(rows, up, b4, True, None)),
        "up + GELU, cuBLAS and a kernel": (linear_flops, lambda: F.gelu(F.linear(rows, up, b4))),
        "up, cuBLAS": (linear_flops, lambda: F.linear(rows, up, b4)),
        "down, cuBLAS (used)": (linear_flops, lambda: F.linear(wide, down, b1)),
        "down, Triton": (linear_flops, lambda: ours.product(wide, down, b1, False, None)),
        "qkv, cuBLAS (used)": (0.75 * linear_flops, lambda: F.linear(rows, qkv, b3)),
        "qkv, Triton": (0.75 * linear_flops, lambda: ours.product(rows, qkv, b3, False, None)),
        "convolution 1, Triton (used)": (
            conv_flops, lambda: ours.product(windows, flat, c_bias, False, None)),
        "convolution 1, cuDNN": (
            conv_flops, lambda: F.conv2d(image, kernel, c_bias, stride=(1, 2))),
        "convolution 1, rows copied for cuBLAS": (
            conv_flops, lambda: F.linear(windows, flat, c_bias)),
        "positional, dense (used)": (
            pos_flops, lambda: ours.product(blocks, toeplitz, p_bias, True, None)),
        "positional, cuDNN": (pos_flops, lambda: F.gelu(F.conv1d(signal, grouped, b1, groups=16))),
    }  # fmt: skip
    for name, tile in TILES.items():
        for which in ("up + GELU, fused (used)", "convolution 1, Triton (used)"):
            flops, call = calls[which]
            calls[f"{which.partition(',')[0]}, {name}"] = flops, tiled(tile, call)
    calls |= attention_calls(frames)
    table = Table("", "ms", "TFLOP/s", title="one of each", title_justify="left")
    with plain_arithmetic("cuda"):
        for name, (flops, call) in calls.items():
            try:
                time = device_seconds(call, repeats)
            except Exception as error:  # a library that lacks it; the others go on
                table.add_row(name, "-", f"{type(error).__name__}: {error}".splitlines()[0][:60])
                continue
            table.add_row(name, f"{1e3 * time:.3f}", f"{1e-12 * flops / time:.0f}")
            bench.repeats.setdefault("one of each", {})[name] = (time,)
    bench.console.print(table)


def attention_calls(frames: int) -> dict[str, tuple[float, Callable[[], object]]]:
    """Attention of one block over a pack of utterances of 250, 750 and 1500 frames."""
    from spire_dsu.hubert import kernels_triton as ours

    calls: dict[str, tuple[float, Callable[[], object]]] = {}
    for length in (250, 750, 1_500):
        number = frames // length
        total = number * length
        qkv = torch.randn(total, 3 * D, device="cuda", dtype=torch.float16) / 8
        ends = range(0, total, length)  # of the utterance before
        tiles = torch.tensor(
            [[at, end, end + length] for end in ends for at in range(end, end + length, 128)],
            dtype=torch.int32, device="cuda",
        )  # fmt: skip
        flops = 4.0 * number * length * length * D
        calls[f"attention, {length} frames, Triton (used)"] = (
            flops, lambda qkv=qkv, tiles=tiles: ours.attention(qkv, tiles, 16))  # fmt: skip
        splits = torch.arange(0, total + 1, length, device="cuda", dtype=torch.int32)

        def varlen(qkv: Tensor = qkv, splits: Tensor = splits, length: int = length) -> object:
            from torch.nn.attention.varlen import varlen_attn

            q, k, v = qkv.view(-1, 3, 16, 64).unbind(1)
            return varlen_attn(q, k, v, splits, splits, length, length)

        def batch(qkv: Tensor = qkv, number: int = number, length: int = length) -> object:
            q, k, v = qkv.view(number, length, 3, 16, 64).permute(2, 0, 3, 1, 4)
            return F.scaled_dot_product_attention(q, k, v)

        calls[f"attention, {length} frames, varlen_attn"] = flops, varlen
        calls[f"attention, {length} frames, SDPA"] = flops, batch
    return calls
