"""Frames to units: the kernels, for arrays of any library, where the data lies.

    features ==> units

"Nearest" is meant in real-number arithmetic on the values given, the lowest index on a tie: labels
do not depend on the batch, the number of threads, the instruction set or the device. `reference.py`
says the same in a page of NumPy.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from spire_dsu import _core
from spire_dsu.errors import InputError
from spire_dsu.types import Int64

Array: TypeAlias = Any
"""A NumPy array, a torch tensor, a cupy array, or anything else that exports DLPack."""

Ragged: TypeAlias = tuple[Array, Array, Int64]
"""Units, durations and row splits."""

_DLPACK_HOST = (1, 3)  # kDLCPU, and kDLCUDAHost: memory locked for a GPU's copies
_DLPACK_CUDA = (2, 13)  # kDLCUDA and kDLCUDAManaged


class Codebook:
    """Centroids made ready once, for many calls.

    It serves features on the CPU and on any GPU, wherever the centroids lie.
    """

    def __init__(self, centroids: Array) -> None:
        """Copy and check the centroids.

        Args:
            centroids: float32 [K, D], K in 1..65535 and D in 1..8192.

        Raises:
            InputError: another shape or dtype, or NaN or infinity (the first such one is named).
        """
        device = _device(centroids)
        if device is not None:
            centroids = _cuda().as_tensor(centroids).cpu()
        self._centroids = _host_centroids(centroids).copy()
        self._native: dict[int | None, Any] = {}
        self._shape: tuple[int, int] = self.on(device).shape

    @property
    def shape(self) -> tuple[int, int]:
        """(K, D)."""
        return self._shape

    def on(self, device: int | None) -> Any:
        """The native codebook for the CPU (None) or a GPU, made when first asked for."""
        if device not in self._native:
            if device is None:
                self._native[None] = _core.Codebook(self._centroids, copy=False)
            else:
                self._native[device] = _cuda().Codebook(self._centroids, device)
        return self._native[device]


def assign(
    features: Array,
    centroids: Array | Codebook,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> Array:
    """The nearest centroid of every frame.

    Args:
        features: [T, D], float32, float16 or bfloat16, any T >= 0; rows may lie apart.
        centroids: float32 [K, D], or a `Codebook` to prepare them only once.
        threads: CPU threads; by default OMP_NUM_THREADS, else the processors this process may use.
        isa: the CPU instruction set, one of `available_isas()`; by default the widest. Labels do
            not depend on it.

    Returns:
        int32 [T], on the device of `features`: an array of NumPy, torch or cupy for one of theirs,
        on a GPU a torch tensor for any other.

    Raises:
        InputError: a wrong shape or dtype, or NaN or infinity in a row (the first such row is
            named).
    """
    device = _device(features)
    if device is not None:
        cuda = _cuda()
        ids = cuda.assign(features, _prepared(centroids, device, threads))
        return cuda.like(features, [ids])[0]
    frames = _frames(features)
    codebook = _prepared(centroids, None, threads)
    return _like(features, _core.assign(frames, codebook, threads=_threads(threads), isa=isa))


def run_length(ids: Array, row_splits: Array | Sequence[int]) -> tuple[Array, Array, Array]:
    """Merge runs of one unit, row by row; never across rows.

    Args:
        ids: int32 [T], the rows one after another. Other integers are taken if they fit.
        row_splits: int64 [N + 1]: row n is ids[row_splits[n]:row_splits[n + 1]]; starts at 0, ends
            at T.

    Returns:
        units int32 [U], durations int32 [U] in frames, row_splits int64 [N + 1] of both; of a
        library as for `assign`.

    Raises:
        InputError: a wrong shape or dtype, or bad row splits (the first bad entry is named).
    """
    if _device(ids) is not None:
        cuda = _cuda()
        return _three(cuda.like(ids, cuda.run_length(ids, row_splits)))
    result = _core.run_length(_int32(_host(ids, "ids")), _row_splits(row_splits))
    return _three(_like(ids, part) for part in result)


def quantize(
    features: Array,
    row_splits: Array | Sequence[int],
    centroids: Array | Codebook,
    *,
    threads: int | None = None,
) -> tuple[Array, Array, Array]:
    """`assign` and `run_length` as one: frames of N utterances in, units out.

    Args:
        features: [T, D] as for `assign`, the utterances one after another.
        row_splits: int64 [N + 1] as for `run_length`.
        centroids: float32 [K, D], or a `Codebook`.
        threads: as for `assign`.

    Returns:
        units int32 [U], durations int32 [U] in frames, row_splits int64 [N + 1]; of a library as
        for `assign`.

    Raises:
        InputError: as `assign` and `run_length`.
    """
    device = _device(features)
    codebook = _prepared(centroids, device, threads)
    if device is not None:
        cuda = _cuda()
        return _three(cuda.like(features, cuda.quantize(features, row_splits, codebook)))
    frames, splits = _frames(features), _row_splits(row_splits)
    result = _core.quantize(frames, splits, codebook, threads=_threads(threads))
    return _three(_like(features, part) for part in result)


class StreamingQuantizer:
    """`quantize` for blocks as an encoder makes them.

        stream = StreamingQuantizer(centroids)
        for block, row_splits, cut in blocks:  # cut: the block ends inside of its last utterance
            done = stream.push(block, row_splits, last_row_continues=cut)
        rest = stream.finish()

    An utterance, and a run within it, may span several pushes. What all calls return, put one after
    another, is what `quantize` returns for all blocks at once, however they were cut. An utterance
    comes out whole. Results are small and lie in host memory (NumPy), for features on any device.
    On the CPU an utterance comes from the call that saw its end; on a GPU from the call after that,
    since the copy runs behind the next block, and so do the errors of a block: the call that raises
    one has dropped the block at fault and has not taken its own, which can be pushed again.

    An installation without CUDA quantises torch tensors that lie on a GPU on the CPU, and says so.
    """

    def __init__(self, centroids: Array | Codebook, *, threads: int | None = None) -> None:
        self._codebook = centroids if isinstance(centroids, Codebook) else Codebook(centroids)
        self._threads = threads
        # Units and durations, so far, of the utterance that the last block left open.
        self._open: tuple[Array, Array] | None = None
        # Blocks on a GPU, and `last_row_continues` of the one whose results are still to come.
        self._pipeline: Any = None
        self._waiting: bool | None = None

    def push(
        self, block: Array, row_splits: Array | Sequence[int], *, last_row_continues: bool = False
    ) -> Ragged:
        """Take the next block.

        Args:
            block: [T, D] as for `assign`.
            row_splits: int64 [R + 1] over the block. After a block with `last_row_continues`, row 0
                of the next one carries on that utterance. A block without rows changes nothing.
            last_row_continues: the utterance of the last row goes on in the next block; it is held
                back.

        Returns:
            units, durations, row_splits (as `quantize`) of the utterances that ended in this block;
            on a GPU, in the one before.

        Raises:
            InputError: as `quantize`; the stream is then as it was before the call.
        """
        device = _device(block)
        if device is not None and hasattr(block, "cpu") and not _has_cuda():
            warnings.warn(
                "this installation was built without CUDA: features on a GPU are quantised on the "
                "CPU, which may be slower than making them",
                RuntimeWarning,
                stacklevel=2,
            )
            block, device = block.cpu(), None
        if device is not None:
            return self._push_to_gpu(block, _row_splits(row_splits), device, last_row_continues)
        result = quantize(block, row_splits, self._codebook, threads=self._threads)
        return _chain(self._collect(age=0), self._take(result, last_row_continues))

    def finish(self) -> Ragged:
        """End the stream, which can then start afresh.

        Returns:
            units, durations, row_splits of what is left: blocks on a GPU that no call has returned
            yet, and the utterance still open.
        """
        done = self._collect(age=0)
        if self._open is None:
            return done
        (units, durations), self._open = self._open, None
        return _chain(done, (units, durations, np.array([0, units.size], np.int64)))

    def _push_to_gpu(self, block: Array, splits: Int64, device: int, open_end: bool) -> Ragged:
        if self._pipeline is None:
            self._pipeline = _cuda().Pipeline(self._codebook.on(device))
        self._pipeline.push(block, splits)
        done = self._collect(age=1)
        self._waiting = open_end
        return done

    def _collect(self, age: int) -> Ragged:
        """What the block before the next one on a GPU has made, if there is one."""
        if self._waiting is None:
            return _empty_batch()
        open_end, self._waiting = self._waiting, None
        return self._take(self._pipeline.wait(age), open_end)

    def _take(self, result: Ragged, last_row_continues: bool) -> Ragged:
        """Join a block with the utterance left open, and hold back the one that it leaves open."""
        units, durations, splits = (_to_numpy(part) for part in result)
        if splits.size == 1:
            if last_row_continues and self._open is None:
                raise InputError(
                    "last_row_continues=True, but the block has no row and none is open"
                )
            return units, durations, splits
        if self._open is not None:
            head = _join(self._open, (units[: splits[1]], durations[: splits[1]]))
            added = head[0].size - int(splits[1])
            units = np.concatenate([head[0], units[splits[1] :]])
            durations = np.concatenate([head[1], durations[splits[1] :]])
            splits = splits + added
            splits[0] = 0
        self._open = None
        if last_row_continues:
            start = int(splits[-2])
            self._open = (units[start:].copy(), durations[start:].copy())
            units, durations, splits = units[:start], durations[:start], splits[:-1]
        return units, durations, splits


def available_isas() -> list[str]:
    """CPU instruction sets that `assign` can use on this machine, the widest last."""
    return list(_core.available_isas())


def _empty_batch() -> Ragged:
    return np.empty(0, np.int32), np.empty(0, np.int32), np.zeros(1, np.int64)


def _chain(first: Ragged, second: Ragged) -> Ragged:
    """Two ragged batches, one after the other."""
    if first[2].size == 1:
        return second
    parts = [np.concatenate([a, b]) for a, b in zip(first[:2], second[:2], strict=True)]
    return parts[0], parts[1], np.concatenate([first[2], second[2][1:] + first[2][-1]])


def _join(head: tuple[Array, Array], tail: tuple[Array, Array]) -> tuple[Array, Array]:
    """Two parts of one utterance, each with its runs merged, as one with its runs merged."""
    (units_a, durations_a), (units_b, durations_b) = head, tail
    if units_a.size == 0 or units_b.size == 0 or units_a[-1] != units_b[0]:
        return np.concatenate([units_a, units_b]), np.concatenate([durations_a, durations_b])
    length = int(durations_a[-1]) + int(durations_b[0])
    if length > np.iinfo(np.int32).max:
        raise InputError(f"a run of {length} frames does not fit 32 bits")
    durations = np.concatenate([durations_a, durations_b[1:]])
    durations[durations_a.size - 1] = length
    return np.concatenate([units_a, units_b[1:]]), durations


def _prepared(centroids: Array | Codebook, device: int | None, threads: int | None) -> Any:
    """The native codebook; raw centroids are read where they lie, for this one call."""
    if isinstance(centroids, Codebook):
        return centroids.on(device)
    on_gpu = _device(centroids) is not None
    if device is None and not on_gpu:
        return _core.Codebook(_host_centroids(centroids), copy=False, threads=_threads(threads))
    if device is not None and on_gpu:
        return _cuda().Codebook(centroids, device)
    return Codebook(centroids).on(device)


def _threads(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    return threads or 0


def _has_cuda() -> bool:
    return importlib.util.find_spec("spire_dsu._cuda") is not None


def _cuda() -> ModuleType:
    """`cuda_units`; imported when first needed, for it needs the CUDA build."""
    if not _has_cuda():
        raise InputError(
            "the data is on a GPU, but this installation was built without CUDA; "
            "install again with nvcc on the PATH (SPIRE_CUDA=ON), or pass host arrays"
        )
    return importlib.import_module("spire_dsu.cuda_units")


def _device(array: Array) -> int | None:
    """None for host memory, the number of the GPU for CUDA memory."""
    if isinstance(array, np.ndarray):
        return None
    if not hasattr(array, "__dlpack_device__"):
        on_gpu = hasattr(array, "__cuda_array_interface__")
        return int(_cuda().device_of(array)) if on_gpu else None
    kind, number = array.__dlpack_device__()
    if int(kind) in _DLPACK_HOST:
        return None
    if int(kind) in _DLPACK_CUDA:
        return int(number)
    raise InputError(f"arrays must lie on the CPU or a CUDA device, got DLPack device {int(kind)}")


def _frames(features: Array) -> Array:
    """Features as `_core` takes them; uint16 means bfloat16 there, so real uint16 stops here."""
    if str(getattr(features, "dtype", "")).endswith("uint16"):
        raise InputError("features must be float32, float16 or bfloat16, got uint16")
    return _host(features, "features")


def _host(array: Array, name: str) -> Array:
    """A NumPy view of host memory with dense rows; bfloat16 is seen as uint16."""
    if isinstance(array, np.ndarray):
        view = array
    elif type(array).__module__ == "torch" or hasattr(array, "detach"):
        view = _torch_view(array.detach())
    elif hasattr(array, "__dlpack__"):
        view = np.from_dlpack(array)
    else:
        raise InputError(f"{name} must be an array, got {type(array).__name__}")
    if view.dtype.name == "bfloat16":
        view = view.view(np.uint16)
    dense = view.ndim == 0 or view.shape[-1] <= 1 or view.strides[-1] == view.itemsize
    whole = all(stride % view.itemsize == 0 for stride in view.strides)
    return view if dense and whole and view.flags.aligned else view.copy(order="C")


def _torch_view(tensor: Array) -> Array:
    torch = sys.modules["torch"]
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def _host_centroids(centroids: Array) -> Array:
    array = np.ascontiguousarray(_host(centroids, "centroids"))
    if array.dtype != np.float32:
        raise InputError(f"centroids must be float32, got {array.dtype}")
    return array


def _int32(ids: Array) -> Array:
    if ids.dtype.kind not in "iu":
        raise InputError(f"ids must be integers, got {ids.dtype}")
    limits = np.iinfo(np.int32)
    if ids.dtype != np.int32 and ids.size and (ids.min() < limits.min or ids.max() > limits.max):
        raise InputError(f"ids must fit 32 bits, got {ids.min()} .. {ids.max()}")
    return np.ascontiguousarray(ids, np.int32)


def _row_splits(row_splits: Array | Sequence[int]) -> Int64:
    splits = _to_numpy(row_splits)
    if splits.dtype.kind not in "iu":
        raise InputError(f"row_splits must be integers, got {splits.dtype}")
    return np.ascontiguousarray(splits, np.int64)


def _to_numpy(array: Array) -> Array:
    """A host copy or view of a small array: row splits, units, durations."""
    if _device(array) is not None:
        array = _cuda().as_tensor(array).cpu()
    return np.asarray(array)


def _like(model: Array, result: Array) -> Array:
    """`result`, in host memory, as an array of the library of `model`; no copy."""
    if isinstance(model, np.ndarray):
        return result
    library: Any = sys.modules.get(type(model).__module__.partition(".")[0])
    return library.from_dlpack(result) if hasattr(library, "from_dlpack") else result


def _three(parts: Iterable[Array]) -> tuple[Array, Array, Array]:
    units, durations, splits = parts
    return units, durations, splits
