"""Waveforms to HuBERT features: the encoder.

    audio -> features ==> units

The features of an utterance are transformers' `hidden_states[layer]` of it alone: the output of
block `layer`, without the final layer norm of pre-norm models. They depend on its own samples only.
On a CPU that holds bit by bit, because each pass sees one utterance: a library's matrix product may
depend on the number of rows, and here that number is the utterance's own. On a GPU several
utterances share a pass, packed without padding.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from spire_dsu.config import ChunkingConfig
from spire_dsu.errors import ConfigError, InputError
from spire_dsu.hubert.architecture import Architecture
from spire_dsu.hubert.arithmetic import plain_arithmetic
from spire_dsu.hubert.checkpoint import Checkpoint, load_checkpoint
from spire_dsu.hubert.extractor import Extractor, FirstLayer
from spire_dsu.hubert.ops import OneDnnOps, Ops, TorchOps
from spire_dsu.hubert.spans import Span, cut
from spire_dsu.hubert.transformer import Transformer
from spire_dsu.hubert.waveform import Normalised
from spire_dsu.types import SAMPLING_RATE, Int64

Wave: TypeAlias = Any
"""float32 samples [S], mono, 16 kHz, finite: a NumPy array or a torch tensor on any device."""

_CPU_TILE_FRAMES = 64  # rows of the first convolution then take 8 MB in float32
_GPU_TILE_FRAMES = 8192
_GPU_PACK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class FeatureBlock:
    """Features as the encoder makes them, for `StreamingQuantizer.push`.

    Attributes:
        features: float32 [T, D] on the device of the encoder.
        row_splits: int64 [R + 1]: row r is features[row_splits[r]:row_splits[r + 1]].
        first: the place in the stream of the utterance that row 0 belongs to; the next rows belong
            to the next utterances.
        last_row_continues: the utterance of the last row goes on in row 0 of the next block.
    """

    features: Tensor
    row_splits: Int64
    first: int
    last_row_continues: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one utterance, or one window of it, adds to a pass. `samples` are normalised."""

    utterance: int
    samples: Tensor
    span: Span
    first_layer: FirstLayer | None
    is_last: bool


class Encoder:
    """HuBERT up to one layer: `encoder(wave)` for one utterance, `encoder.stream(waves)` for many.

    encoder = Encoder.from_pretrained("facebook/hubert-large-ll60k", layer=22)
    features_TD = encoder(wave_S)
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        normalize_eps: float | None = 1e-5,
        device: str = "auto",
        precision: str = "exact",
        chunking: ChunkingConfig | None = None,
        pack_seconds: float | None = None,
    ) -> None:
        """See `from_pretrained`, which reads the checkpoint first."""
        if normalize_eps is not None and not 0 < normalize_eps < 1:
            raise ConfigError(f"normalize_eps {normalize_eps!r} is not between 0 and 1, nor None")
        if pack_seconds is not None and not 0 <= pack_seconds < 1e6:
            raise ConfigError(f"pack_seconds {pack_seconds!r} is not between 0 and 1e6, nor None")
        self._arch: Architecture = checkpoint.arch
        self._layer, self._digest = checkpoint.layer, checkpoint.digest
        self._eps = normalize_eps
        self._chunking = chunking or ChunkingConfig()
        self._device = _device(device)
        on_gpu = self._device.type == "cuda"
        self._precision = _precision(precision, on_gpu)
        if pack_seconds is None and on_gpu:
            pack_seconds = _GPU_PACK_SECONDS
        self._pack_samples = None if pack_seconds is None else round(pack_seconds * SAMPLING_RATE)
        ops = _ops(self._precision, on_gpu)
        tensors = {name: each.to(self._device) for name, each in checkpoint.tensors.items()}
        tile = _GPU_TILE_FRAMES if on_gpu else _CPU_TILE_FRAMES
        self._extractor = Extractor(self._arch, tensors, ops, tile)
        self._transformer = Transformer(self._arch, self._layer, tensors, ops)

    @classmethod
    def from_pretrained(
        cls,
        folder_or_id: str | os.PathLike[str],
        *,
        layer: int,
        normalize_eps: float | None = 1e-5,
        device: str = "auto",
        precision: str = "exact",
        chunking: ChunkingConfig | None = None,
        pack_seconds: float | None = None,
    ) -> Encoder:
        """Reads an encoder.

        Args:
            folder_or_id: a Hugging Face folder of a HuBERT, or the hub id of one.
            layer: whose output the features are: transformers' hidden_states[layer]. 22 for SPIRE.
            normalize_eps: the whole waveform is brought to zero mean and unit variance, with this
                added to the variance: 1e-5 in fairseq, 1e-7 in transformers. None leaves it as it
                is, for models trained so (`do_normalize` false).
            device: "cpu", "cuda", "cuda:1"; "auto" is a GPU where there is one.
            precision: "exact" is float32; "fast" multiplies in float16 on a GPU and in bfloat16 on
                a CPU that has it, and keeps sums and the residual stream in float32; "auto" is
                "fast" on a GPU and "exact" on a CPU.
            chunking: how audio of more than 100 s is cut; by default into windows that overlap.
            pack_seconds: how much audio one pass may hold. None: one utterance a pass on a CPU,
                which makes features independent of their neighbours bit by bit; 300 s on a GPU.

        Returns:
            The encoder.

        Raises:
            ModelError: the model cannot be had or used, or lacks the layer.
            ConfigError: an argument that is not accepted, or a GPU that is not there.
        """
        return cls(
            load_checkpoint(folder_or_id, layer),
            normalize_eps=normalize_eps,
            device=device,
            precision=precision,
            chunking=chunking,
            pack_seconds=pack_seconds,
        )

    @property
    def dim(self) -> int:
        """D, the size of a feature."""
        return self._arch.hidden_size

    @property
    def layer(self) -> int:
        """The layer whose output the features are."""
        return self._layer

    @property
    def digest(self) -> str:
        """SHA-256 over the weights used and their architecture, for fingerprints."""
        return self._digest

    @property
    def device(self) -> torch.device:
        """Where features are made and stay."""
        return self._device

    @property
    def precision(self) -> Literal["exact", "fast"]:
        """The precision in use, which is "exact" where the machine lacks what "fast" needs."""
        return self._precision

    @property
    def normalize_eps(self) -> float | None:
        """What is added to the variance of the waveform; None where it is not normalised."""
        return self._eps

    @property
    def chunking(self) -> ChunkingConfig:
        """How long audio is cut."""
        return self._chunking

    def num_frames(self, num_samples: int) -> int:
        """Frames that so many samples become; under "fairseq" chunking, one fewer for each cut."""
        return sum(span.num_frames for span in cut(num_samples, self._arch, self._chunking))

    def __call__(self, wave_S: Wave) -> Tensor:
        """The features of one utterance.

        Args:
            wave_S: float samples [S], mono, 16 kHz, finite.

        Returns:
            float32 [T, D], T as by `num_frames`: 0 for fewer than 400 samples.

        Raises:
            InputError: not a 1-D array of floating point numbers.
        """
        return torch.cat([block.features for block in self.stream([wave_S])])

    def stream(self, waves: Iterable[Wave]) -> Iterator[FeatureBlock]:
        """The features of many utterances, in order, as they are made.

        Each utterance has a row, also one too short for a frame. Memory does not grow with the
        number of utterances, and with the length of one only by its samples.

        Args:
            waves: as for a call; taken one at a time, as needed.

        Raises:
            InputError: as a call, when the utterance at fault is reached.
        """
        pack: list[_Piece] = []
        size = 0
        for piece in self._pieces(waves):
            length = piece.samples.shape[0]
            if pack and size + length > (self._pack_samples or 0):
                yield self._run(pack)
                pack, size = [], 0
            pack.append(piece)
            size += length
        if pack:
            yield self._run(pack)

    def _pieces(self, waves: Iterable[Wave]) -> Iterator[_Piece]:
        for utterance, each in enumerate(waves):
            wave = _samples(each, self._device)
            spans = cut(wave.shape[0], self._arch, self._chunking)
            if not spans:
                yield _Piece(utterance, wave[:0], Span(0, 0, 0, 0), None, is_last=True)
                continue
            with plain_arithmetic(self._device.type):
                normalised = Normalised(wave, self._eps)
                first = self._extractor.first_for(normalised.slice, wave.shape[0])
            for span in spans:
                samples = normalised.slice(span.start, span.stop)
                yield _Piece(utterance, samples, span, first, is_last=span is spans[-1])

    def _run(self, pieces: list[_Piece]) -> FeatureBlock:
        """One pass."""
        splits = [0]
        previous = None
        for piece in pieces:
            if piece.utterance != previous:
                splits.append(splits[-1])
                previous = piece.utterance
            splits[-1] += piece.span.num_frames
        with plain_arithmetic(self._device.type):
            features = self._forward([piece for piece in pieces if piece.span.num_frames])
        row_splits = np.array(splits, np.int64)
        return FeatureBlock(features, row_splits, pieces[0].utterance, not pieces[-1].is_last)

    def _forward(self, pieces: list[_Piece]) -> Tensor:
        """The frames to be kept of all pieces, one after another: float32 [T, D]."""
        if not pieces:
            return torch.empty((0, self.dim), dtype=torch.float32, device=self._device)
        rows = self._extract(pieces)
        splits = [0, *accumulate(each.shape[0] for each in rows)]
        features = self._transformer(rows[0] if len(rows) == 1 else torch.cat(rows), splits)
        kept = [
            features[start + piece.span.first : start + piece.span.last]
            for start, piece in zip(splits, pieces, strict=False)
        ]
        return kept[0] if len(kept) == 1 else torch.cat(kept)

    def _extract(self, pieces: list[_Piece]) -> list[Tensor]:
        """The rows of the extractor for each piece."""
        shared = self._extractor.shared_first
        if shared is None or len(pieces) == 1:
            return [self._extractor(p.samples, _present(p.first_layer)) for p in pieces]
        # One stream: a piece begins at a multiple of the hop, so its frames fall on the stream's.
        # Frames that reach over the end of a piece are made and left.
        hop = self._arch.hop
        starts = [0, *accumulate(-(-piece.samples.shape[0] // hop) for piece in pieces)]
        stream = pieces[0].samples.new_zeros(starts[-1] * hop + self._arch.field)
        for start, piece in zip(starts, pieces, strict=False):
            stream[start * hop : start * hop + piece.samples.shape[0]] = piece.samples
        rows = self._extractor(stream, shared)
        return [
            rows[start : start + self._arch.num_frames(piece.samples.shape[0])]
            for start, piece in zip(starts, pieces, strict=False)
        ]


def _samples(wave: Wave, device: torch.device) -> Tensor:
    """The waveform as a float32 tensor [S] on the device."""
    if isinstance(wave, np.ndarray):
        # PyTorch takes neither reversed arrays nor, without a warning, read-only ones.
        plain = wave.flags.writeable and wave.flags.c_contiguous and wave.dtype.isnative
        wave = torch.from_numpy(wave if plain else np.array(wave, wave.dtype.newbyteorder("=")))
    tensor = torch.as_tensor(wave)
    if tensor.ndim != 1 or not tensor.is_floating_point():
        raise InputError(
            "a waveform is a 1-D array of floating point samples, got shape "
            f"{tuple(tensor.shape)} of {tensor.dtype}"
        )
    return tensor.detach().to(device, torch.float32)


def _present(first_layer: FirstLayer | None) -> FirstLayer:
    assert first_layer is not None, "a piece with frames has a first layer"
    return first_layer


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device {name!r} is none of 'auto', 'cpu', 'cuda', 'cuda:N'") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is none of 'auto', 'cpu', 'cuda', 'cuda:N'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r}: PyTorch sees {torch.cuda.device_count()} NVIDIA GPUs")
    return device


def _precision(wanted: str, on_gpu: bool) -> Literal["exact", "fast"]:
    if wanted not in ("exact", "fast", "auto"):
        raise ConfigError(f"precision {wanted!r} is none of 'exact', 'fast', 'auto'")
    if wanted == "auto":
        return "fast" if on_gpu else "exact"
    if wanted == "fast" and not on_gpu and not _has_bfloat16():
        warnings.warn(
            "precision='fast': this CPU does not multiply in bfloat16; 'exact' (float32) is used",
            RuntimeWarning,
            stacklevel=4,
        )
        return "exact"
    return "fast" if wanted == "fast" else "exact"


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 itself (AVX512-BF16 or AMX), and oneDNN is there."""
    cpu: Any = torch.cpu
    return OneDnnOps.available() and (
        cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
    )


def _ops(precision: str, on_gpu: bool) -> Ops:
    if on_gpu:
        return TorchOps(torch.float16 if precision == "fast" else torch.float32)
    if precision == "fast":
        return OneDnnOps(torch.bfloat16)
    return OneDnnOps(torch.float32) if OneDnnOps.available() else TorchOps(torch.float32)
