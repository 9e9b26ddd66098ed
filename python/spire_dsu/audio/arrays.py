"""Audio that is already an array: NumPy, torch, CuPy or anything that speaks DLPack, checked and
brought to one form.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spire_dsu.audio.decode import check_rate
from spire_dsu.audio.mixing import first_unusable, resample
from spire_dsu.errors import AudioError, InputError, Reason
from spire_dsu.types import SAMPLING_RATE, Float32

_INT16_SCALE = np.float32(1 / 32768)
_DLPACK_HOST = {1, 3, 11}  # CPU, and host memory that CUDA or ROCm has pinned


def check_waveform(
    samples: Any, sampling_rate: int = SAMPLING_RATE, *, name: str = "audio"
) -> Float32:
    """One waveform as every encoder here takes it.

    Args:
        samples: 1-D array [S] of NumPy, torch (any device), CuPy or another library with DLPack;
            floating point, nominally in [-1, 1], or int16, which is scaled by 1/32768.
        sampling_rate: of the samples; another one than 16 kHz is resampled.
        name: what error messages call the array.

    Returns:
        float32 [S'] at 16 kHz, contiguous; the very memory of `samples` where nothing had to
        change.

    Raises:
        InputError: no array, another shape, dtype or rate.
        AudioError: EMPTY, or NON_FINITE with the value and where it is.
    """
    rate = check_rate(sampling_rate)
    array = to_numpy(samples, name)
    if array.ndim != 1:
        raise InputError(f"{name} must be 1-D, one channel, got {_shape(array)}{_advice(array)}")
    if not array.size:
        raise AudioError(Reason.EMPTY, f"{name} has 0 samples")
    waveform = _as_float32(array, name)
    bad = first_unusable(waveform)
    if bad is not None:
        raise AudioError(Reason.NON_FINITE, f"{name}[{bad}] is {array[bad].item()!r}")
    resampled = resample(waveform, rate, SAMPLING_RATE)
    if not resampled.size:
        raise AudioError(Reason.EMPTY, f"{name} has {array.size} samples at {rate} Hz, 0 at 16 kHz")
    return resampled


def as_waveforms(
    wav_batch: Any, sampling_rate: int = SAMPLING_RATE, lengths: Any = None
) -> tuple[list[Float32], bool]:
    """Every form of a batch as a list of waveforms.

    Args:
        wav_batch: a list or tuple of 1-D arrays; one 1-D array; or a padded 2-D array [N, S] with
            `lengths`.
        sampling_rate: of all of them.
        lengths: [N] integers, samples of each row of a 2-D array; None for the other forms.

    Returns:
        N waveforms, float32 [S] at 16 kHz each, and whether the batch was one single array.

    Raises:
        InputError, AudioError: as `check_waveform`, naming the row.
    """
    check_rate(sampling_rate)
    if isinstance(wav_batch, (list, tuple)):
        _refuse_lengths(lengths, "a list of arrays")
        return [
            check_waveform(samples, sampling_rate, name=f"wav_batch[{row}]")
            for row, samples in enumerate(wav_batch)
        ], False
    array = to_numpy(wav_batch, "wav_batch")
    if array.ndim == 1:
        _refuse_lengths(lengths, "one 1-D array")
        return [check_waveform(array, sampling_rate, name="wav_batch")], True
    if array.ndim != 2:
        raise InputError(f"wav_batch must be a list of 1-D arrays or 2-D, got {_shape(array)}")
    if lengths is None:
        raise InputError(
            f"wav_batch is 2-D, {_shape(array)}: pass lengths=, the samples of each row before its "
            f"padding, or a list of 1-D arrays{_advice(array)}"
        )
    rows = _check_lengths(lengths, array.shape)
    return [
        check_waveform(array[row, :length], sampling_rate, name=f"wav_batch[{row}]")
        for row, length in enumerate(rows)
    ], False


def to_numpy(array: Any, name: str) -> npt.NDArray[Any]:
    """Any array on the host as NumPy's, without a copy where it is there already; bfloat16 becomes
    float32.

    Raises:
        InputError: no array of a library known here.
    """
    if isinstance(array, np.ndarray):
        return array
    try:
        if hasattr(array, "detach") and hasattr(array, "cpu"):  # torch, without importing it
            tensor = array.detach().cpu()
            if tensor.is_floating_point() and tensor.element_size() < 4:
                tensor = tensor.float()  # exact for float16 and bfloat16, which NumPy lacks
            return np.asarray(tensor.numpy())
        if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
            if int(array.__dlpack_device__()[0]) not in _DLPACK_HOST and hasattr(array, "get"):
                return np.asarray(array.get())  # CuPy's copy to the host
            return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} is a {type(array).__name__} NumPy cannot take: {error}"
        ) from error
    raise InputError(
        f"{name} must be an array (NumPy, torch, CuPy or DLPack), got {type(array).__name__}"
    )


def _as_float32(array: npt.NDArray[Any], name: str) -> Float32:
    if (array.dtype.kind, array.dtype.itemsize) == ("i", 2):
        scaled: Float32 = np.multiply(array, _INT16_SCALE, dtype=np.float32)
        return scaled
    if array.dtype.kind == "f" and array.dtype.itemsize <= 8:
        with np.errstate(over="ignore"):  # a float64 too large becomes infinity, which is refused
            return np.ascontiguousarray(array, dtype=np.float32)
    advice = "scale it to float in [-1, 1]" if array.dtype.kind in "iu" else "use float32 or int16"
    raise InputError(f"{name} has dtype {array.dtype}, whose scale is not known here: {advice}")


def _check_lengths(lengths: Any, shape: tuple[int, ...]) -> list[int]:
    rows, longest = shape
    values = lengths if isinstance(lengths, Sequence) else to_numpy(lengths, "lengths").tolist()
    try:
        checked = [operator.index(value) for value in values]
    except TypeError as error:
        raise InputError(f"lengths must be whole numbers, got {lengths!r}") from error
    if len(checked) != rows:
        raise InputError(f"lengths has {len(checked)} entries for {rows} rows")
    for row, length in enumerate(checked):
        if not 0 <= length <= longest:
            raise InputError(f"lengths[{row}] is {length}, the rows hold {longest} samples")
    return checked


def _refuse_lengths(lengths: Any, form: str) -> None:
    if lengths is not None:
        raise InputError(f"lengths belongs to a padded 2-D wav_batch, not to {form}: {lengths!r}")


def _shape(array: npt.NDArray[Any]) -> str:
    return f"shape {tuple(array.shape)}"


def _advice(array: npt.NDArray[Any]) -> str:
    """How to make one channel of what looks like several."""
    if array.ndim == 2 and 1 <= min(array.shape) <= 8:
        axis = int(np.argmin(array.shape))
        return f"; if axis {axis} holds channels, take one of them or their mean(axis={axis})"
    return ""
