"""Waveforms to HuBERT features: the encoder.

    audio -> features ==> units

The features of an utterance are transformers' `hidden_states[layer]` of it alone: the output of
block `layer`, without the final layer norm of pre-norm models. They depend on its own samples only.
That holds bit by bit where each pass sees one utterance: a library's matrix product may depend on
the number of rows, and here that number is the utterance's own. "fast" on a GPU packs utterances
without padding into passes of one constant size, which has the same effect (`hubert/packer.py`).
"""

from __future__ import annotations

import importlib
import importlib.util
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
from spire_dsu.hubert.packed import PackedForward, can_pack
from spire_dsu.hubert.packer import Flight, Packer, PackPiece
from spire_dsu.hubert.packing import PackShape
from spire_dsu.hubert.spans import Span, cut
from spire_dsu.hubert.transformer import Transformer
from spire_dsu.hubert.waveform import Normalised
from spire_dsu.types import SAMPLING_RATE, Int64

Wave: TypeAlias = Any
"""float32 samples [S], mono, 16 kHz, finite: a NumPy array or a torch tensor on any device."""

_CPU_TILE_FRAMES = 64  # rows of the first convolution then take 8 MB in float32
_GPU_TILE_FRAMES = 8192
# 132 multiprocessors, four times 128 rows each: with tiles of 128 x 256 every product of a block
# is a whole number of waves on an H100 or H200. 338 s of audio.
_PACK_FRAMES = 16_896
_PACK_UTTERANCES = 512


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
    """What one utterance, or one window of it, adds to a pass.

    `samples` are normalised but for packs of constant size, which do that themselves; for those
    `moments` is what a window cannot measure, the mean and the factor of the whole.
    """

    utterance: int
    samples: Tensor
    span: Span
    is_last: bool
    first_layer: FirstLayer | None = None
    moments: tuple[float, float] | None = None


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
        self._precision = _precision(precision, on_gpu, self._arch)
        self._packer: Packer | None = None
        if on_gpu and self._precision == "fast":
            self._packer = _packer(checkpoint, self._device, self._eps, pack_seconds)
            return
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
                "fast" on a GPU and "exact" on a CPU. On a GPU, models with a group norm or with
                norms after a block's halves (base models) are "exact" always.
            chunking: how audio of more than 100 s is cut; by default into windows that overlap.
            pack_seconds: how much audio one pass may hold. None: one utterance a pass, which makes
                features independent of their neighbours bit by bit; for "fast" on a GPU, whose
                passes are all of one size, 338 s.

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
    def overflows(self) -> int:
        """Utterances, or windows of one, that float16 was too small for and bfloat16 has made."""
        return 0 if self._packer is None else self._packer.overflows

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
        if self._packer is not None:
            yield from self._stream_packed(waves, self._packer)
            return
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
                yield _Piece(utterance, wave[:0], Span(0, 0, 0, 0), is_last=True)
                continue
            with plain_arithmetic(self._device.type):
                normalised = Normalised(wave, self._eps)
                first = self._extractor.first_for(normalised.slice, wave.shape[0])
            for span in spans:
                samples = normalised.slice(span.start, span.stop)
                yield _Piece(utterance, samples, span, span is spans[-1], first)

    def _stream_packed(self, waves: Iterable[Wave], packer: Packer) -> Iterator[FeatureBlock]:
        """A pack is under way while the one before it is handed on."""
        before: tuple[list[_Piece], Flight | None] | None = None
        for pack in self._packs(waves, packer.shape):
            pieces = [
                PackPiece(piece.samples, piece.moments, piece.span.first, piece.span.last)
                for piece in pack
                if piece.span.num_frames
            ]
            under_way = pack, packer.queue(pieces) if pieces else None
            if before is not None:
                yield self._landed(packer, *before)
            before = under_way
        if before is not None:
            yield self._landed(packer, *before)

    def _landed(self, packer: Packer, pack: list[_Piece], flight: Flight | None) -> FeatureBlock:
        return _block(pack, self._no_features() if flight is None else packer.result(flight))

    def _packs(self, waves: Iterable[Wave], shape: PackShape) -> Iterator[list[_Piece]]:
        """Pieces as they come, as many as fit; a piece longer than a pack is one by itself."""
        pack: list[_Piece] = []
        frames = 0
        for piece in self._raw_pieces(waves):
            slots = shape.slots(piece.samples.shape[0])
            if pack and (frames + slots > shape.frames or len(pack) == shape.utterances):
                yield pack
                pack, frames = [], 0
            pack.append(piece)
            frames += slots
        if pack:
            yield pack

    def _raw_pieces(self, waves: Iterable[Wave]) -> Iterator[_Piece]:
        for utterance, each in enumerate(waves):
            wave = _samples(each, None)
            spans = cut(wave.shape[0], self._arch, self._chunking)
            if not spans:
                yield _Piece(utterance, wave[:0], Span(0, 0, 0, 0), is_last=True)
                continue
            moments = None
            if self._eps is None or len(spans) > 1 or spans[0].stop < wave.shape[0]:
                moments = Normalised(wave, self._eps).moments
            for span in spans:
                samples = wave[span.start : span.stop]
                yield _Piece(utterance, samples, span, span is spans[-1], moments=moments)

    def _run(self, pieces: list[_Piece]) -> FeatureBlock:
        """One pass."""
        with plain_arithmetic(self._device.type):
            features = self._forward([piece for piece in pieces if piece.span.num_frames])
        return _block(pieces, features)

    def _no_features(self) -> Tensor:
        return torch.empty((0, self.dim), dtype=torch.float32, device=self._device)

    def _forward(self, pieces: list[_Piece]) -> Tensor:
        """The frames to be kept of all pieces, one after another: float32 [T, D]."""
        if not pieces:
            return self._no_features()
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


def _block(pieces: list[_Piece], features: Tensor) -> FeatureBlock:
    """The features of a pass with what they belong to."""
    splits = [0]
    previous = None
    for piece in pieces:
        if piece.utterance != previous:
            splits.append(splits[-1])
            previous = piece.utterance
        splits[-1] += piece.span.num_frames
    row_splits = np.array(splits, np.int64)
    return FeatureBlock(features, row_splits, pieces[0].utterance, not pieces[-1].is_last)


def _samples(wave: Wave, device: torch.device | None) -> Tensor:
    """The waveform as a float32 tensor [S] on the device; `None`: where it lies."""
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
    return tensor.detach().to(device or tensor.device, torch.float32)


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


def _precision(wanted: str, on_gpu: bool, arch: Architecture) -> Literal["exact", "fast"]:
    if wanted not in ("exact", "fast", "auto"):
        raise ConfigError(f"precision {wanted!r} is none of 'exact', 'fast', 'auto'")
    packs = on_gpu and can_pack(arch) and _has_triton()
    if wanted == "auto":
        return "fast" if packs else "exact"
    if wanted == "fast" and on_gpu and not packs:
        why = "this model's norms are not those of HuBERT-large" if _has_triton() else "no Triton"
        warnings.warn(
            f"precision='fast' on a GPU: {why}; 'exact' (float32) is used",
            RuntimeWarning,
            stacklevel=4,
        )
        return "exact"
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


def _has_triton() -> bool:
    """Triton comes with PyTorch's own builds for CUDA."""
    return importlib.util.find_spec("triton") is not None


def _packer(
    checkpoint: Checkpoint, device: torch.device, eps: float | None, pack_seconds: float | None
) -> Packer:
    """The packed pass in float16. The weights stay on the host, too: bfloat16 may be needed."""
    arch = checkpoint.arch
    frames = _PACK_FRAMES
    if pack_seconds is not None:
        frames = 128 * max(1, round(pack_seconds * SAMPLING_RATE / arch.hop / 128))
    kernels = importlib.import_module("spire_dsu.hubert.kernels_triton")

    def forward(dtype: torch.dtype) -> PackedForward:
        return PackedForward(
            arch, checkpoint.layer, checkpoint.tensors,
            dtype=dtype, device=device, eps=eps, kernels=kernels,
        )  # fmt: skip

    shape = PackShape(arch, frames, _PACK_UTTERANCES)
    return Packer(forward(torch.float16), lambda: forward(torch.bfloat16), shape, device)


def _ops(precision: str, on_gpu: bool) -> Ops:
    if on_gpu:
        return TorchOps(torch.float32)
    if precision == "fast":
        return OneDnnOps(torch.bfloat16)
    return OneDnnOps(torch.float32) if OneDnnOps.available() else TorchOps(torch.float32)
