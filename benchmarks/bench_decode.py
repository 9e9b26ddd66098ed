"""Decoding on one core: a file in, mono samples at 16 kHz out, in seconds of audio per second.

    python benchmarks/bench_decode.py [--utterances 24] [--repeats 5]

Speech of 8 to 14 s a file, as WAV, FLAC, MP3 and Opus, at 16 and at 48 kHz. Ours checks what the
others believe (declared lengths, checksums of pages, cut files, values that are no numbers), and is
shown twice: in this process, and through the child process that `convert` decodes in. The peers:

- soundfile, with soxr where the rate is another one: what our reader is built on.
- torchcodec and PyAV: FFmpeg, which also resamples. torchcodec is not among our requirements; where
  it is not installed, the result says so.

Every competitor must return as many samples as ours, but for what a codec adds at the ends, and the
same sound.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr
import torch
from bench_encode import speech
from harness import Benchmark

from spire_dsu.audio import IsolatedDecoder, read_audio
from spire_dsu.types import SAMPLING_RATE, Float32

try:
    from torchcodec.decoders import AudioDecoder
except (ImportError, RuntimeError):  # RuntimeError: without FFmpeg's libraries
    AudioDecoder = None

Decode = Callable[[Path], Float32]
FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC"},
    "mp3": {"format": "MP3"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
RATES = (16_000, 48_000)
PADDING = 2400  # samples: codecs add or drop up to some frames at either end


def with_soundfile(path: Path) -> Float32:
    """As one would write it."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    return mono if rate == SAMPLING_RATE else soxr.resample(mono, rate, SAMPLING_RATE)


def with_torchcodec(path: Path) -> Float32:
    """FFmpeg behind torch."""
    decoder = AudioDecoder(path, sample_rate=SAMPLING_RATE, num_channels=1)
    return decoder.get_all_samples().data[0].numpy()


def with_pyav(path: Path) -> Float32:
    """FFmpeg, frame by frame."""
    parts = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "mono", SAMPLING_RATE)
        frames: Any = container.decode(audio=0)
        for frame in (*frames, None):
            parts += [each.to_ndarray()[0] for each in resampler.resample(frame)]
    return np.concatenate(parts)


def written(waves: Sequence[Float32], kind: str, rate: int, folder: Path) -> list[Path]:
    """The recordings in one format."""
    paths = []
    for index, wave in enumerate(waves):
        samples = wave if rate == SAMPLING_RATE else soxr.resample(wave, SAMPLING_RATE, rate)
        paths.append(folder / f"{index:03}-{rate}.{kind}")
        soundfile.write(paths[-1], np.clip(samples, -1, 1), rate, **FORMATS[kind])
    return paths


def agreement(one: Float32, other: Float32) -> float:
    """Correlation of two decodings at the best shift within what codecs add; checks lengths."""
    if abs(one.size - other.size) > PADDING:
        raise SystemExit(f"{one.size} and {other.size} samples of the same file")
    middle = slice(PADDING, min(one.size, other.size) - PADDING)
    part = one[middle]
    size = 1 << (part.size + 2 * PADDING).bit_length()
    spectrum = np.fft.rfft(other[: part.size + 2 * PADDING], size)
    shifts = np.fft.irfft(spectrum * np.conj(np.fft.rfft(part, size)), size)[: 2 * PADDING]
    begin = int(np.argmax(shifts))
    return float(np.corrcoef(part, other[begin : begin + part.size])[0, 1])


def measure(bench: Benchmark, args: argparse.Namespace, folder: Path) -> None:
    """All formats."""
    waves = speech(args.utterances, seed=0)
    seconds = sum(wave.size for wave in waves) / SAMPLING_RATE
    bench.figure("seconds_of_audio", seconds)
    with IsolatedDecoder() as child:
        decoders: dict[str, Decode] = {
            "ours": read_audio,
            "ours, in a child": lambda path: child.decode(path).samples,
            "soundfile": with_soundfile,
            "PyAV": with_pyav,
        }
        if AudioDecoder is not None:
            decoders["torchcodec"] = with_torchcodec
        for kind in FORMATS:
            for rate in RATES:
                paths = written(waves, kind, rate, folder)
                ours = read_audio(paths[0])
                for name, decode in decoders.items():
                    if (same := agreement(ours, decode(paths[0]))) < 0.99:
                        raise SystemExit(f"{name} hears something else in {kind}: {same:.3f}")
                runs = {
                    name: lambda decode=decode, paths=paths: [decode(path) for path in paths]
                    for name, decode in decoders.items()
                }
                times = bench.compare(
                    f"{kind}, {rate // 1000} kHz", runs, repeats=args.repeats,
                    work=seconds, unit="x real time",
                )  # fmt: skip
                for name, each in times.items():
                    word = name.replace(", in a ", "_").lower()
                    bench.figure(f"x_{kind}_{rate // 1000}k_{word}", seconds / each.median)
                for peer in ("soundfile", "torchcodec"):
                    if peer in times:
                        ratio = times["ours"].speedup_over(times[peer])
                        bench.figure(f"vs_{peer}_{kind}_{rate // 1000}k", ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--utterances", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    peers = {"PyAV": av.__version__, "torchcodec": "not installed"}
    if AudioDecoder is not None:
        peers["torchcodec"] = importlib.metadata.version("torchcodec")
    bench = Benchmark("decode", settings={**vars(args), "peers": peers})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        measure(bench, args, Path(folder))
    bench.save()


if __name__ == "__main__":
    main()
