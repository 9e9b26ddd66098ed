"""The kernels on a GPU: what `units` calls for arrays in device memory.

    features (DLPack, __cuda_array_interface__) ==> units, torch tensors on the same device

Work is queued on the current stream: torch's, or cupy's for cupy arrays. Memory is torch's.
A call waits for the device once, at its end, to learn whether the data was sound and how long the
answer is; `_cuda` itself waits for nothing.
"""

from __future__ import annotations

import sys
from collections import deque
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


_MANAGED = 13  # DLPack's kDLCUDAManaged, which torch does not take
_FITS_INT32 = (torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16)


class Codebook:
    """Centroids made ready on one GPU; they are copied."""

    def __init__(self, centroids: Array, device: int) -> None:
        """`centroids`: float32 [K, D], a writable NumPy array or an array on any GPU."""
        with _on_stream(centroids, device) as stream:
            source = centroids if isinstance(centroids, np.ndarray) else as_tensor(centroids)
            on_device = torch.as_tensor(source, device=f"cuda:{device}").contiguous()
            self.native = _cuda.Codebook(on_device, stream=stream)

    @property
    def shape(self) -> tuple[int, int]:
        """(K, D)."""
        count, dims = self.native.shape
        return count, dims


def device_of(array: Array) -> int:
    """The GPU that holds an array which only has `__cuda_array_interface__`."""
    return _cuda.device_of(array)


def as_tensor(array: Array) -> torch.Tensor:
    """A torch tensor in the same memory, ordered behind the array's own stream.

    Raises:
        InputError: an axis runs backwards (torch has no such tensors), or torch does not take the
            array.
    """
    if isinstance(array, torch.Tensor):
        return array.detach()
    strides = getattr(array, "strides", None) or ()
    if any(stride < 0 for stride in strides):
        # Checked here, for torch ends the process over such an array.
        raise InputError(f"strides must not be negative, got {tuple(strides)}; pass a copy")
    kind, device = (
        array.__dlpack_device__() if hasattr(array, "__dlpack_device__") else (_MANAGED, -1)
    )
    if int(kind) != _MANAGED:
        with torch.cuda.device(int(device)):  # a producer may refuse any but the current device
            return torch.utils.dlpack.from_dlpack(array)
    interface = array.__cuda_array_interface__
    number = device_of(array)
    if interface.get("stream") is not None:
        torch.cuda.current_stream(number).wait_stream(_stream_at(interface["stream"], number))
    return torch.as_tensor(array, device=f"cuda:{number}")


def like(model: Array, results: Sequence[torch.Tensor]) -> tuple[Array, ...]:
    """Results as arrays of the library of `model`: cupy's, else torch's. No copy."""
    if not _is_cupy(model):
        return tuple(results)
    cupy = sys.modules["cupy"]
    with _on_stream(model, results[0].get_device()):
        return tuple(cupy.from_dlpack(result) for result in results)


def assign(features: Array, codebook: Codebook, *, exact: bool = True) -> torch.Tensor:
    """int32 [T] on the device of `features`; see `units.assign`."""
    tensor = as_tensor(features)
    with _on_stream(features, tensor.get_device()) as stream:
        frames = _dense_rows(tensor)
        ids = _empty(frames, _rows(frames), torch.int32)
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
    tensor = as_tensor(features)
    with _on_stream(features, tensor.get_device()) as stream:
        frames = _dense_rows(tensor)
        out = _Ragged(frames, _rows(frames), _splits(row_splits, frames))
        native = codebook.native
        _cuda.quantize(frames, out.row_splits, native, *out.parts, stream=stream, exact=exact)
        return out.result()


class Pipeline:
    """Blocks in, results in host memory out: those of a block come while the next is computed."""

    def __init__(self, codebook: Codebook) -> None:
        self._native = _cuda.StreamingQuantizer(codebook.native)
        # Features that the device may still read: a push waits for the block before the last one.
        self._in_use: deque[torch.Tensor] = deque(maxlen=2)

    def push(self, features: Array, row_splits: Int64) -> None:
        """Queue a block."""
        tensor = as_tensor(features)
        with _on_stream(features, tensor.get_device()) as stream:
            frames = _dense_rows(tensor)
            self._native.push(frames, row_splits, stream=stream)
        self._in_use.append(frames)

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
    if _is_cupy(array):
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(device):
            stream = _stream_at(cupy.cuda.get_current_stream().ptr, device)
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield int(stream.cuda_stream)


def _stream_at(address: int, device: int) -> torch.cuda.Stream:
    """The stream with this address. torch would make a new one of the null stream's 0 or 1."""
    if address in (0, 1):
        return torch.cuda.default_stream(device)
    return torch.cuda.ExternalStream(address, device=device)  # type: ignore[no-untyped-call]


def _is_cupy(array: Array) -> bool:
    return type(array).__module__.partition(".")[0] == "cupy"


def _rows(frames: torch.Tensor) -> int:
    """T; of an array that is no matrix anything will do, for `_cuda` refuses it."""
    return frames.shape[0] if frames.dim() > 0 else 0


def _empty(like: torch.Tensor, size: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(size, dtype=dtype, device=like.device)


def _dense_rows(frames: torch.Tensor) -> torch.Tensor:
    dense = frames.dim() != 2 or frames.shape[1] <= 1 or frames.stride(1) == 1
    return frames if dense else frames.contiguous()


def _int32(ids: torch.Tensor) -> torch.Tensor:
    if ids.dim() != 1:
        raise InputError(f"ids must be 1-D [T], got {ids.dim()} dimensions")
    _check_integers(ids, "ids")
    if ids.dtype not in _FITS_INT32 and ids.numel():
        low, high = (int(end) for end in torch.aminmax(ids.to(torch.int64)))
        if low < -(2**31) or high >= 2**31 or (ids.dtype == torch.uint64 and low < 0):
            raise InputError(f"ids must fit 32 bits, got {low} .. {high}")
    return ids.to(torch.int32).contiguous()


def _splits(row_splits: Array | Sequence[int], like: torch.Tensor) -> torch.Tensor:
    is_array = hasattr(row_splits, "__dlpack__") or hasattr(row_splits, "__cuda_array_interface__")
    if isinstance(row_splits, np.ndarray) or not is_array:
        source = torch.as_tensor(np.array(row_splits))  # a copy: it may be read-only
    else:
        source = as_tensor(row_splits)
    _check_integers(source, "row_splits")
    if source.dim() != 1 or source.numel() < 1:
        raise InputError(
            f"row_splits must be 1-D with at least one entry, got {source.dim()} dimensions and "
            f"{source.numel()} entries"
        )
    return source.to(device=like.device, dtype=torch.int64).contiguous()


def _check_integers(tensor: torch.Tensor, name: str) -> None:
    dtype = tensor.dtype
    if dtype.is_floating_point or dtype.is_complex or dtype == torch.bool:
        raise InputError(f"{name} must be integers, got {dtype}")
