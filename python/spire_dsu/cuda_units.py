"""The kernels on a GPU: what `units` calls for arrays in device memory.

    features (DLPack, __cuda_array_interface__) ==> units, torch tensors on the same device

Work is queued on the current stream: torch's, or cupy's for cupy arrays. Memory is torch's.
A call waits for the device once, at its end, to learn whether the data was sound and how long the
answer is; `_cuda` itself waits for nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.utils.dlpack

from spire_dsu import _cuda
from spire_dsu.errors import InputError
from spire_dsu.types import Int64

Array: TypeAlias = Any


class Codebook:
    """Centroids made ready on one GPU; they are copied."""

    def __init__(self, centroids: Array, device: int) -> None:
        tensor = centroids if isinstance(centroids, np.ndarray) else as_tensor(centroids)
        with _on_stream(centroids, device) as stream:
            on_device = torch.as_tensor(tensor, device=f"cuda:{device}").contiguous()
            self.native = _cuda.Codebook(on_device, stream=stream)

    @property
    def shape(self) -> tuple[int, int]:
        """(K, D)."""
        count, dims = self.native.shape
        return count, dims


def as_tensor(array: Array) -> torch.Tensor:
    """A torch tensor in the same memory."""
    if isinstance(array, torch.Tensor):
        return array.detach()
    if hasattr(array, "__dlpack__"):
        return torch.utils.dlpack.from_dlpack(array)
    return torch.as_tensor(array, device="cuda")  # __cuda_array_interface__


def assign(features: Array, codebook: Codebook, *, exact: bool = True) -> torch.Tensor:
    """int32 [T] on the device of `features`; see `units.assign`."""
    frames = _dense_rows(as_tensor(features))
    with _on_stream(features, frames.get_device()) as stream:
        ids = _empty(frames, frames.shape[0], torch.int32)
        faults = _empty(frames, 3, torch.int64)
        _cuda.assign(frames, codebook.native, ids, faults, stream=stream, exact=exact)
        _cuda.raise_faults(*faults.tolist())
    return ids


def run_length(ids: Array, row_splits: Array | Sequence[int]) -> tuple[torch.Tensor, ...]:
    """Units, durations and row splits on the device of `ids`; see `units.run_length`."""
    tensor = as_tensor(ids)
    with _on_stream(ids, tensor.get_device()) as stream:
        flat = _int32(tensor)
        out = _Ragged(flat, flat.shape[0], _splits(row_splits, flat))
        _cuda.run_length(flat, out.row_splits, *out.parts, stream=stream)
        return out.result()


def quantize(
    features: Array, row_splits: Array | Sequence[int], codebook: Codebook, *, exact: bool = True
) -> tuple[torch.Tensor, ...]:
    """Units, durations and row splits on the device of `features`; see `units.quantize`."""
    frames = _dense_rows(as_tensor(features))
    with _on_stream(features, frames.get_device()) as stream:
        out = _Ragged(frames, frames.shape[0], _splits(row_splits, frames))
        native = codebook.native
        _cuda.quantize(frames, out.row_splits, native, *out.parts, stream=stream, exact=exact)
        return out.result()


class Pipeline:
    """Blocks in, results in host memory out: those of a block come while the next is computed."""

    def __init__(self, codebook: Codebook) -> None:
        self._native = _cuda.StreamingQuantizer(codebook.native)

    def push(self, features: Array, row_splits: Int64) -> None:
        """Queue a block."""
        frames = _dense_rows(as_tensor(features))
        with _on_stream(features, frames.get_device()) as stream:
            self._native.push(frames, row_splits, stream=stream)
            # The memory is not given to another tensor before this stream has read it.
            frames.record_stream(torch.cuda.current_stream())

    def wait(self, age: int) -> tuple[Array, Array, Int64]:
        """Units, durations and row splits of the block pushed last but `age` (0 or 1)."""
        units, durations, splits = self._native.wait(age)
        return units, durations, splits


class _Ragged:
    """Memory for a ragged result. What the host must know of it lies side by side: one copy."""

    def __init__(self, like: torch.Tensor, frames: int, row_splits: torch.Tensor) -> None:
        self.row_splits = row_splits
        self._units = _empty(like, frames, torch.int32)
        self._durations = _empty(like, frames, torch.int32)
        self._numbers = _empty(like, row_splits.shape[0] + 3, torch.int64)
        self._splits = self._numbers[: row_splits.shape[0]]

    @property
    def parts(self) -> tuple[torch.Tensor, ...]:
        """units, durations, unit_splits, faults."""
        return self._units, self._durations, self._splits, self._numbers[self._splits.shape[0] :]

    def result(self) -> tuple[torch.Tensor, ...]:
        size, *faults = self._numbers[self._splits.shape[0] - 1 :].tolist()
        _cuda.raise_faults(*faults)
        return self._units[:size], self._durations[:size], self._splits


@contextmanager
def _on_stream(array: Array, device: int) -> Iterator[int]:
    """The caller's current stream on that device, as torch's current one; yields its address."""
    stream = torch.cuda.current_stream(device)
    if type(array).__module__.partition(".")[0] == "cupy":
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(device):
            address = cupy.cuda.get_current_stream().ptr
        stream = torch.cuda.ExternalStream(address, device=device)  # type: ignore[no-untyped-call]
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield int(stream.cuda_stream)


def _empty(like: torch.Tensor, size: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(size, dtype=dtype, device=like.device)


def _dense_rows(frames: torch.Tensor) -> torch.Tensor:
    dense = frames.dim() != 2 or frames.shape[1] <= 1 or frames.stride(1) == 1
    return frames if dense else frames.contiguous()


def _int32(ids: torch.Tensor) -> torch.Tensor:
    if ids.dim() != 1:
        raise InputError(f"ids must be 1-D [T], got {ids.dim()} dimensions")
    if ids.dtype.is_floating_point or ids.dtype in (torch.bool, torch.complex64):
        raise InputError(f"ids must be integers, got {ids.dtype}")
    if ids.dtype != torch.int32 and ids.numel():
        low, high = (int(end) for end in torch.aminmax(ids))
        if low < -(2**31) or high >= 2**31:
            raise InputError(f"ids must fit 32 bits, got {low} .. {high}")
    return ids.to(torch.int32).contiguous()


def _splits(row_splits: Array | Sequence[int], like: torch.Tensor) -> torch.Tensor:
    on_device = hasattr(row_splits, "__cuda_array_interface__")
    source = as_tensor(row_splits) if on_device else torch.as_tensor(np.asarray(row_splits))
    if source.dtype.is_floating_point or source.dtype == torch.bool:
        raise InputError(f"row_splits must be integers, got {source.dtype}")
    if source.dim() != 1 or source.numel() < 1:
        raise InputError(
            f"row_splits must be 1-D with at least one entry, got {source.dim()} dimensions and "
            f"{source.numel()} entries"
        )
    return source.to(device=like.device, dtype=torch.int64).contiguous()
