"""The forward pass over a pack of constant size, and its replay as one CUDA graph.

The models it takes are those that normalise by rows throughout (layer-norm extractor, norms before
each half of a block): HuBERT-large and -xlarge. Work is queued, never waited for; nothing of an
utterance is read on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F  # noqa: N812, its common name
from torch import Tensor

from spire_dsu.hubert.architecture import Architecture
from spire_dsu.hubert.arithmetic import plain_arithmetic
from spire_dsu.hubert.checkpoint import POSITIONAL
from spire_dsu.hubert.extractor import NORM_EPS, folded_first_layer
from spire_dsu.hubert.packing import FRAMES_A_BLOCK, PackShape, views

Pair = tuple[Tensor, Tensor]
"""Weight and bias."""


def can_pack(arch: Architecture) -> bool:
    """Whether the packed pass takes a model of this shape."""
    return (
        arch.feat_extract_norm == "layer"
        and arch.do_stable_layer_norm
        and arch.feat_proj_layer_norm
        and not arch.conv_pos_batch_norm
    )


@dataclass(frozen=True, slots=True)
class _Block:
    norm_1: Pair
    qkv: Pair
    out: Pair
    norm_2: Pair
    up: Pair
    down: Pair


@dataclass(frozen=True, slots=True)
class PackInput:
    """What a pass reads, in device memory; overwritten for every pass.

    Attributes:
        stream: float32 [samples].
        numbers: int32 [shape.size()], as by `packing.fill`.
        given: float32 [utterances, 2], mean and factor of utterances that the pass does not
            measure; zeros where there is none.
    """

    stream: Tensor
    numbers: Tensor
    given: Tensor

    @classmethod
    def empty(cls, shape: PackShape, device: torch.device, *, pinned: bool = False) -> PackInput:
        """Memory for one; pinned where there is a GPU to pin it for."""
        pinned = pinned and torch.cuda.is_available()

        def make(size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=device, pin_memory=pinned)

        return cls(
            make((shape.samples,), torch.float32),
            make((shape.size(),), torch.int32),
            make((shape.utterances, 2), torch.float32),
        )

    def copy_from(self, other: PackInput) -> None:
        """Queues a copy, from pinned memory or from the device."""
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine.copy_(theirs, non_blocking=True)

    def _parts(self) -> tuple[Tensor, ...]:
        return self.stream, self.numbers, self.given


class PackedForward:
    """The model up to one layer, its weights on the device in the dtype of the products."""

    def __init__(
        self,
        arch: Architecture,
        layer: int,
        tensors: Mapping[str, Tensor],
        *,
        dtype: torch.dtype,
        device: torch.device,
        eps: float | None,
        kernels: ModuleType,
    ) -> None:
        """Args: tensors: float32, by transformers' names; eps: of the waveform's variance, None
        where all moments are given; kernels: `kernels_triton`, or `kernels_torch`."""
        self._arch, self._dtype, self._device = arch, dtype, device
        self._eps, self._kernels = eps or 0.0, kernels
        self._weights = {name: each.to(device) for name, each in tensors.items()}
        self._first = self._folded_first()
        self._convolutions = [self._convolution(i) for i in range(1, len(arch.conv_dim))]
        self._projection_norm = self._norm_of("feature_projection.layer_norm")
        self._projection = self._linear("feature_projection.projection")
        self._positional = self._toeplitz()
        self._blocks = [self._block(index) for index in range(layer)]
        del self._weights

    def __call__(self, shape: PackShape, pack: PackInput) -> tuple[Tensor, Tensor]:
        """Queues the pass.

        Returns:
            float32 [frames, D], the rows of `packing`; bool [frames], which of them are finite: a
            number over 65,504 in a half-precision product leaves NaN in its utterance.
        """
        kernels, eps = self._kernels, self._arch.layer_norm_eps
        index = views(shape, pack.numbers)
        rows = self.extract(shape, pack)
        rows = kernels.norm(rows, index.slot_of_row, *self._projection_norm, eps, self._dtype)
        rows = kernels.linear(rows, *self._projection)
        state = self.add_positions(shape, rows, pack)
        if self._blocks:
            rows = kernels.norm(state, None, *self._blocks[0].norm_1, eps, self._dtype)
        for i, block in enumerate(self._blocks):
            mixed = kernels.attention(
                kernels.linear(rows, *block.qkv), index.tiles, self._arch.num_attention_heads
            )
            # state + first is written with the second half only: 22 KB a frame in place of 24.
            first = kernels.linear(mixed, *block.out)
            rows = kernels.sum_norm(state, first, *block.norm_2, eps)
            second = kernels.linear(kernels.product(rows, *block.up, True, None), *block.down)
            if i + 1 < len(self._blocks):
                rows = kernels.add_norm(state, first, second, *self._blocks[i + 1].norm_1, eps)
            else:
                state += first
                state += second
        return state, torch.isfinite(state.sum(1))

    def extract(self, shape: PackShape, pack: PackInput) -> Tensor:
        """[frames, C]: the convolutions over the stream."""
        arch, kernels = self._arch, self._kernels
        index = views(shape, pack.numbers)
        found = kernels.moments(pack.stream, index.extents, pack.given, self._eps)
        rows: Tensor = kernels.first_layer(
            pack.stream, found, index.utterance_of_slot, *self._first,
            arch.conv_kernel[0], arch.conv_stride[0], arch.hop // arch.conv_stride[0], NORM_EPS,
        )  # fmt: skip
        for i, (linear, normal) in enumerate(self._convolutions, 1):
            kernel, stride, width = arch.conv_kernel[i], arch.conv_stride[i], rows.shape[1]
            count = (rows.shape[0] - kernel) // stride + 1
            windows = rows.as_strided((count, kernel * width), (stride * width, 1))
            rows = kernels.norm_gelu(
                kernels.product(windows, *linear, False, None), *normal, NORM_EPS
            )
        return rows

    def add_positions(self, shape: PackShape, rows: Tensor, pack: PackInput) -> Tensor:
        """float32 [frames, D]: rows plus their positional convolution, as a product of blocks."""
        index = views(shape, pack.numbers)
        groups = self._arch.num_conv_pos_embedding_groups
        laid = self._kernels.spaced(rows, index.row_of_spaced, groups)
        weight, bias = self._positional
        width = laid.shape[2]
        windows = laid.as_strided(
            (groups, shape.blocks, weight.shape[2]), (laid.stride(0), FRAMES_A_BLOCK * width, 1)
        )
        made = self._kernels.product(windows, weight, bias, True, index.used_blocks)
        made = made.view(groups, shape.blocks * FRAMES_A_BLOCK, width)
        state: Tensor = self._kernels.add_spaced(rows, made, index.spaced_of_row)
        return state

    def _folded_first(self) -> tuple[Tensor, Tensor, Tensor]:
        """Convolution 0 with its norm: weight [C, W], root [W, W], shift; W a power of two."""
        weight, root, shift = folded_first_layer(self._arch, self._weights)
        width = max(16, 1 << (weight.shape[1] - 1).bit_length())
        more = width - weight.shape[1]
        padded_root = F.pad(root, (0, width - root.shape[1], 0, width - root.shape[0]))
        return F.pad(weight, (0, more)).to(self._dtype), padded_root.contiguous(), shift

    def _convolution(self, i: int) -> tuple[Pair, Pair]:
        name = f"feature_extractor.conv_layers.{i}"
        weight = self._weights[f"{name}.conv.weight"]
        bias = (
            self._weights[f"{name}.conv.bias"]
            if self._arch.conv_bias
            else weight.new_zeros(len(weight))
        )
        # [out, in, kernel] -> [out, kernel * in]: the order of a row of overlapping input
        return self._half(weight.transpose(1, 2).flatten(1), bias), self._norm_of(
            f"{name}.layer_norm"
        )

    def _toeplitz(self) -> Pair:
        """The positional convolution as a dense product that makes several frames at once.

        Row (f, o) of a group's weight is output channel o moved f frames on, so that a block of 8
        frames is one row of 8 * out numbers, from 8 + kernel - 1 frames of input: 6 % more
        arithmetic than the convolution with kernel 128, in tiles that fill the matrix units.
        """
        weight, bias = self._weights[f"{POSITIONAL}.weight"], self._weights[f"{POSITIONAL}.bias"]
        groups = self._arch.num_conv_pos_embedding_groups
        size, width, kernel = weight.shape
        each = weight.view(groups, size // groups, width, kernel).permute(0, 1, 3, 2)
        wide = each.new_zeros(
            groups, FRAMES_A_BLOCK, size // groups, FRAMES_A_BLOCK + kernel - 1, width
        )
        for frame in range(FRAMES_A_BLOCK):
            wide[:, frame, :, frame : frame + kernel] = each
        biases = bias.view(groups, 1, -1).expand(-1, FRAMES_A_BLOCK, -1).flatten(1)
        return self._half(wide.flatten(3).flatten(1, 2), biases)

    def _block(self, index: int) -> _Block:
        name = f"encoder.layers.{index}"
        # 1 / sqrt(head size) goes into the weights of the queries, as everywhere in this package.
        scale = (self._arch.hidden_size // self._arch.num_attention_heads) ** -0.5
        parts = [
            (f"{name}.attention.{p}", s)
            for p, s in (("q_proj", scale), ("k_proj", 1.0), ("v_proj", 1.0))
        ]
        qkv = self._half(
            torch.cat([self._weights[f"{part}.weight"] * s for part, s in parts]),
            torch.cat([self._weights[f"{part}.bias"] * s for part, s in parts]),
        )
        return _Block(
            norm_1=self._norm_of(f"{name}.layer_norm"),
            qkv=qkv,
            out=self._linear(f"{name}.attention.out_proj"),
            norm_2=self._norm_of(f"{name}.final_layer_norm"),
            up=self._linear(f"{name}.feed_forward.intermediate_dense"),
            down=self._linear(f"{name}.feed_forward.output_dense"),
        )

    def _linear(self, name: str) -> Pair:
        return self._half(self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _half(self, weight: Tensor, bias: Tensor) -> Pair:
        return weight.to(self._dtype).contiguous(), bias.to(self._dtype).contiguous()

    def _norm_of(self, name: str) -> Pair:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]


class Replayed:
    """A pass of one shape that is captured when first called and replayed from then on.

    Its input, its workspace and its output are allocated once. The output is overwritten by the
    next call: copy what is to stay.
    """

    def __init__(
        self,
        forward: Callable[[PackShape, PackInput], tuple[Tensor, Tensor]],
        shape: PackShape,
        device: torch.device,
    ) -> None:
        self._forward, self._shape = forward, shape
        self.input = PackInput.empty(shape, device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: tuple[Tensor, Tensor] | None = None

    def __call__(self) -> tuple[Tensor, Tensor]:
        """Queues the pass over `input` on the current stream."""
        if self._graph is None:
            self._capture()
        assert self._graph is not None
        assert self._output is not None
        self._graph.replay()
        return self._output

    def _capture(self) -> None:
        """Twice without a graph first: kernels are compiled and libraries choose theirs."""
        current = torch.cuda.current_stream()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with plain_arithmetic("cuda"), torch.cuda.stream(side):
            for _ in range(2):
                self._forward(self._shape, self.input)
        current.wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with plain_arithmetic("cuda"), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = self._forward(self._shape, self.input)
        self._graph = graph
