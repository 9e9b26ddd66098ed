"""The waveform becomes one row every 20 ms: HuBERT's seven convolutions, as products of rows.

With channels last, a convolution of kernel k and stride s over [T, C] is one matrix product: row t
of its input is the k * C numbers from row t * s on, so the rows of the operand overlap and nothing
is transposed. The work goes in tiles of a few frames, so that what lies between two convolutions
never leaves the cache, and memory does not grow with the length of the audio.

The first convolution sees few samples a row (10), which lets its normalisation move into its input:

* layer norm over channels: the mean goes into the weights (subtract their mean over channels), and
  the variance is a quadratic form of the samples, so each row of samples is divided by its standard
  deviation beforehand;
* group norm over time: mean and variance of each channel follow from the mean and the covariance of
  the samples over the whole utterance, and go into weights made for that utterance.

Either way convolution, normalisation and GELU are one product. On two cores that takes 6 ms
for 10 s of audio in float32, where the three steps took 120 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812, its common name
from torch import Tensor

from spire_dsu.hubert.architecture import Architecture
from spire_dsu.hubert.ops import Operation, Ops

# The layers that normalise inside of transformers' extractor take PyTorch's default, not the
# configuration's layer_norm_eps.
NORM_EPS = 1e-5

FirstLayer = Callable[[Tensor], Tensor]
"""float32 samples [S] -> rows [(S - kernel) // stride + 1, C]: convolution, normalisation, GELU."""


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One of the later convolutions: rows [T, C_in] -> [(T - kernel) // stride + 1, C_out]."""

    kernel: int
    stride: int
    multiply: Operation
    norm: tuple[Tensor, Tensor] | None


class Extractor:
    """The convolutions, ready to run on the device of their weights."""

    def __init__(
        self, arch: Architecture, tensors: Mapping[str, Tensor], ops: Ops, tile_frames: int
    ) -> None:
        """Args: tensors: by name, on the wanted device; tile_frames: frames made in one go."""
        self._arch = arch
        self._ops = ops
        self._tile_frames = tile_frames
        names = [f"feature_extractor.conv_layers.{i}" for i in range(len(arch.conv_dim))]
        weights = [tensors[f"{name}.conv.weight"] for name in names]
        biases = [
            tensors[f"{name}.conv.bias"] if arch.conv_bias else weight.new_zeros(weight.shape[0])
            for name, weight in zip(names, weights, strict=True)
        ]
        norms = [
            (tensors[f"{name}.layer_norm.weight"], tensors[f"{name}.layer_norm.bias"])
            if f"{name}.layer_norm.weight" in tensors
            else None
            for name in names
        ]
        first_norm = norms[0]
        assert first_norm is not None, "both kinds of extractor normalise after convolution 0"
        self._first_weight, self._first_bias, self._first_norm = weights[0], biases[0], first_norm
        by_rows = arch.feat_extract_norm == "layer"
        self._by_rows = self._normalised_by_rows(tensors) if by_rows else None
        self._later = []
        for i in range(1, len(names)):
            # [out, in, kernel] -> [out, kernel * in]: the order of a row of overlapping input
            flat = weights[i].transpose(1, 2).flatten(1)
            multiply = ops.linear(flat, biases[i], gelu=norms[i] is None)
            self._later.append(
                _Convolution(arch.conv_kernel[i], arch.conv_stride[i], multiply, norms[i])
            )

    @property
    def shared_first(self) -> FirstLayer | None:
        """The first layer where it is the same for all utterances (layer norm), else `None`."""
        return self._by_rows

    def first_for(self, blocks: Callable[[int, int], Tensor], num_samples: int) -> FirstLayer:
        """The first layer for one utterance.

        Args:
            blocks: (start, stop) -> the normalised samples of the utterance in that range, [S].
            num_samples: how many there are; at least one frame.
        """
        if self._by_rows is not None:
            return self._by_rows
        return self._normalised_over_time(blocks, num_samples)

    def __call__(self, wave_S: Tensor, first: FirstLayer) -> Tensor:
        """Rows [T, C] of the last convolution, T as by `Architecture.num_frames`.

        Args:
            wave_S: float32, normalised; at least one frame long.
            first: from `first_for`.
        """
        total = self._arch.num_frames(wave_S.shape[0])
        rows = wave_S.new_empty((total, self._arch.conv_dim[-1]), dtype=self._ops.dtype)
        for start in range(0, total, self._tile_frames):
            stop = min(start + self._tile_frames, total)
            begin = start * self._arch.hop
            samples = wave_S[begin : begin + self._arch.samples_of(stop - start)]
            rows[start:stop] = self._tile(samples, first)
        return rows

    def _tile(self, samples: Tensor, first: FirstLayer) -> Tensor:
        rows = first(samples)
        for conv in self._later:
            width = rows.shape[1]
            count = (rows.shape[0] - conv.kernel) // conv.stride + 1
            shape, strides = (count, conv.kernel * width), (conv.stride * width, 1)
            rows = conv.multiply(rows.contiguous().as_strided(shape, strides))
            if conv.norm is not None:
                rows = F.gelu(self._ops.layer_norm(rows, *conv.norm, NORM_EPS))
        return rows

    def _normalised_by_rows(self, tensors: Mapping[str, Tensor]) -> FirstLayer:
        kernel, stride = self._arch.conv_kernel[0], self._arch.conv_stride[0]
        weight, root, shift = folded_first_layer(self._arch, tensors)
        multiply = self._ops.linear(weight, shift, gelu=True)

        def first(samples: Tensor) -> Tensor:
            rows = F.pad(samples.unfold(0, kernel, stride), (0, 1), value=1.0)
            variance = torch.mm(rows, root).pow_(2).sum(1, keepdim=True)
            return multiply(rows.mul_(variance.add_(NORM_EPS).rsqrt_()).to(self._ops.dtype))

        return first

    def _normalised_over_time(
        self, blocks: Callable[[int, int], Tensor], num_samples: int
    ) -> FirstLayer:
        kernel, stride = self._arch.conv_kernel[0], self._arch.conv_stride[0]
        weight = self._first_weight[:, 0].double()
        mean, covariance = self._moments(blocks, num_samples)
        variance = ((weight @ covariance) * weight).sum(1).clamp_min(0)
        gain, shift = (each.double() for each in self._first_norm)
        scale = gain * (variance + NORM_EPS).rsqrt()
        # The bias of the convolution moves every value of its channel, and with them the mean.
        bias = shift - scale * (weight @ mean)
        multiply = self._ops.linear((scale[:, None] * weight).float(), bias.float(), gelu=True)
        return lambda samples: multiply(
            samples.unfold(0, kernel, stride).to(self._ops.dtype).contiguous()
        )

    def _moments(
        self, blocks: Callable[[int, int], Tensor], num_samples: int
    ) -> tuple[Tensor, Tensor]:
        """Mean [k] and covariance [k, k] of the rows that convolution 0 sees, in float64."""
        kernel, stride = self._arch.conv_kernel[0], self._arch.conv_stride[0]
        count = (num_samples - kernel) // stride + 1
        total = torch.zeros(kernel, dtype=torch.float64, device=self._first_weight.device)
        squares = torch.zeros(kernel, kernel, dtype=torch.float64, device=total.device)
        step = 1 << 16
        for start in range(0, count, step):
            stop = min(start + step, count)
            samples = blocks(start * stride, (stop - 1) * stride + kernel).double()
            rows = samples.unfold(0, kernel, stride)
            total += rows.sum(0)
            squares += rows.t() @ rows
        mean = total / count
        return mean, squares / count - torch.outer(mean, mean)


def folded_first_layer(
    arch: Architecture, tensors: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Convolution 0 and the layer norm after it as one product, for a row of samples and a 1.

    Returns:
        float32: weight [C, kernel + 1], the last column being the bias; root, so that
        |root^T x|^2 is the variance over channels of the convolution of x; shift [C].
    """
    name = "feature_extractor.conv_layers.0"
    weight = tensors[f"{name}.conv.weight"]
    bias = tensors[f"{name}.conv.bias"] if arch.conv_bias else weight.new_zeros(weight.shape[0])
    wide = torch.cat([weight[:, 0], bias[:, None]], 1).double()
    centred = wide - wide.mean(0)
    root = torch.linalg.qr(centred / centred.shape[0] ** 0.5, mode="r").R.float().t()
    gain, shift = tensors[f"{name}.layer_norm.weight"], tensors[f"{name}.layer_norm.bias"]
    return (gain[:, None] * centred).float(), root, shift
