"""The codebook on disk: `centroids` float32 [K, D] in safetensors, checked before any use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from spire_dsu.errors import ModelError
from spire_dsu.files import write_atomically
from spire_dsu.types import Float32

MAX_CENTROIDS = 65_535
"""Most centroids: every unit fits into uint16, with one value to spare."""

MAX_FEATURES = 8_192
"""Largest feature size D."""

TENSOR = "centroids"
FORMAT = "spire-dsu-codebook"
_MAX_HEADER = 1 << 20
_NPY_MAGIC = b"\x93NUMPY"
_PICKLE_LIKE = {
    b"\x80": "a pickle",
    b"\x78": "zlib (a compressed joblib file?)",
    b"\x1f\x8b": "gzip (a compressed joblib file?)",
    b"BZ": "bzip2 (a compressed joblib file?)",
    b"\xfd7zXZ": "xz (a compressed joblib file?)",
    b"\x5d\x00": "lzma (a compressed joblib file?)",
    b"\x04\x22\x4d\x18": "lz4 (a compressed joblib file?)",
    b"ZF": "a joblib file",
    b"PK": "a zip archive (a PyTorch or .npz file?)",
}


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCodebook:
    """Centroids that passed every check.

    Attributes:
        centroids: float32 [K, D], C-contiguous, finite, read-only.
        digest: SHA-256 of type, shape and values: the identity of the units that it makes.
        metadata: the strings that the file carries, empty for an array.
        source: the file, or what an array was called, for messages.
    """

    centroids: Float32
    digest: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = "array"


def load_codebook(
    source: str | os.PathLike[str] | npt.ArrayLike | LoadedCodebook,
    *,
    num_centroids: int | None = None,
    num_features: int | None = None,
) -> LoadedCodebook:
    """Reads centroids and checks them.

    Args:
        source: a .safetensors file with the tensor `centroids` float32 [K, D], a .npy file, or an
            array of floats [K, D] (numpy, torch or cupy). What a file is, its content tells.
            Nothing is ever unpickled.
        num_centroids: K where it is known; another one is an error.
        num_features: D where it is known; another one is an error.

    Returns:
        The centroids as float32, with their digest.

    Raises:
        ModelError: names the source and the offending value: no such file, another format, a wrong
            tensor, type, shape, or a value that is not finite.
    """
    if isinstance(source, LoadedCodebook):
        loaded = source
    elif isinstance(source, (str, os.PathLike)):
        loaded = _load_file(Path(source))
    else:
        loaded = _checked(_to_numpy(source), {}, "centroids")
    for axis, letter, expected in ((0, "K", num_centroids), (1, "D", num_features)):
        if expected is not None and loaded.centroids.shape[axis] != expected:
            raise ModelError(
                f"{loaded.source}: centroids have {letter} = {loaded.centroids.shape[axis]}, "
                f"but {letter} = {expected} is needed"
            )
    return loaded


def save_codebook(
    path: str | os.PathLike[str],
    centroids: npt.ArrayLike | LoadedCodebook,
    metadata: Mapping[str, str] | None = None,
) -> LoadedCodebook:
    """Writes a codebook, whole or not at all; same centroids and metadata, same bytes.

    Args:
        path: the .safetensors file to write.
        centroids: floats [K, D], checked as `load_codebook` does and written as float32.
        metadata: strings to carry along; `None` keeps those of a loaded codebook.

    Returns:
        What was written, as `load_codebook` would give it back.

    Raises:
        ModelError: the centroids or the metadata are not acceptable.
        OSError: the file cannot be written.
    """
    loaded = load_codebook(centroids)
    strings = dict(loaded.metadata if metadata is None else metadata)
    for key, value in strings.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ModelError(f"{path}: metadata must be text, got {key!r}: {value!r}")
    strings["format"] = FORMAT
    values = loaded.centroids.astype("<f4", copy=False)
    # Written here, and not by the library: it promises no order for metadata, and the same codebook
    # must be the same file. Layout: https://github.com/huggingface/safetensors#format
    header = json.dumps(
        {
            "__metadata__": strings,
            TENSOR: {
                "dtype": "F32",
                "shape": list(values.shape),
                "data_offsets": [0, values.nbytes],
            },
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    header += b" " * (-len(header) % 8)
    write_atomically(path, [len(header).to_bytes(8, "little"), header, values.tobytes()])
    return LoadedCodebook(loaded.centroids, loaded.digest, strings, str(path))


def is_codebook_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file's first bytes are those of safetensors or .npy; nothing more is checked.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" or head.startswith(_NPY_MAGIC)


def digest_of(centroids_KD: Float32) -> str:
    """SHA-256, in hexadecimal, over type, shape and little-endian values."""
    digest = hashlib.sha256(f"float32 {centroids_KD.shape[0]} {centroids_KD.shape[1]}\n".encode())
    digest.update(np.ascontiguousarray(centroids_KD, dtype="<f4").data)
    return digest.hexdigest()


def check_shape(shape: tuple[int, ...], source: str) -> None:
    """Raises `ModelError` unless the shape is [K, D] within the limits, naming the source."""
    if len(shape) != 2:
        raise ModelError(f"{source}: centroids must be [K, D], got the shape {shape}")
    if not (1 <= shape[0] <= MAX_CENTROIDS and 1 <= shape[1] <= MAX_FEATURES):
        raise ModelError(
            f"{source}: centroids must be at least [1, 1] and at most "
            f"[{MAX_CENTROIDS}, {MAX_FEATURES}], got {shape}"
        )


def _load_file(path: Path) -> LoadedCodebook:
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "no such codebook file"
        raise ModelError(f"{path}: {what}")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if head[8:] == b"{":
        return _load_safetensors(path, int.from_bytes(head[:8], "little"))
    if head.startswith(_NPY_MAGIC):
        return _load_npy(path)
    for magic, what in _PICKLE_LIKE.items():
        if head.startswith(magic):
            raise ModelError(
                f"{path}: this is {what}, not a safetensors codebook; reading a pickle can run "
                f"code, so it enters only through: spire-dsu import-codebook {path} "
                "--trust-pickle --out codebook.safetensors"
            )
    raise ModelError(f"{path}: neither safetensors nor .npy, it starts with {head!r}")


def _load_safetensors(path: Path, header_bytes: int) -> LoadedCodebook:
    if header_bytes > _MAX_HEADER:
        raise ModelError(f"{path}: a header of {header_bytes} bytes is too large for a codebook")
    try:
        with safe_open(path, framework="numpy") as file:
            names = sorted(file.keys())
            if names != [TENSOR]:
                raise ModelError(f"{path}: must hold exactly the tensor {TENSOR!r}, has {names!r}")
            piece = file.get_slice(TENSOR)
            dtype, shape = piece.get_dtype(), tuple(piece.get_shape())
            if dtype != "F32":
                raise ModelError(f"{path}: centroids must be float32 (F32), got {dtype}")
            check_shape(shape, str(path))  # before a byte of the data is read
            return _checked(file.get_tensor(TENSOR), file.metadata() or {}, str(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a valid safetensors file: {error}") from error


def _load_npy(path: Path) -> LoadedCodebook:
    try:
        # Mapped, so that a header that lies about the shape allocates nothing; objects cannot be
        # mapped at all.
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, OverflowError, EOFError) as error:
        raise ModelError(f"{path}: not a valid .npy file of numbers: {error}") from error
    return _checked(mapped, {}, str(path))


def _to_numpy(array: Any) -> npt.NDArray[Any]:
    """A numpy array of what the user gave; torch and cupy are known by methods, not imported."""
    if hasattr(array, "detach"):  # torch; numpy has no bfloat16, so floats become float32
        tensor = array.detach().cpu()
        return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
    if hasattr(array, "get") and hasattr(array, "__cuda_array_interface__"):
        return np.asarray(array.get())
    with contextlib.suppress(ValueError, TypeError):
        return np.asarray(array)
    raise ModelError(f"centroids must be an array [K, D] of floats, got {type(array).__name__}")


def _checked(values: npt.NDArray[Any], metadata: Mapping[str, str], source: str) -> LoadedCodebook:
    check_shape(values.shape, source)
    if values.dtype.kind != "f" or values.dtype.itemsize > 8:
        raise ModelError(f"{source}: centroids must be floats, got {values.dtype}")
    with np.errstate(over="ignore"):  # what overflows float32 is found just below
        centroids = np.array(values, dtype=np.float32, order="C")
    finite = np.isfinite(centroids).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        column = int(np.argmin(np.isfinite(centroids[row])))
        raise ModelError(
            f"{source}: centroid {row} is not finite in float32: value {values[row, column]} "
            f"at feature {column}"
        )
    centroids.flags.writeable = False
    return LoadedCodebook(centroids, digest_of(centroids), dict(metadata), source)
