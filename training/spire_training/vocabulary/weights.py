"""The safetensors files of a model, with longer embedding tables.

The form of a file is: eight bytes with the length of a JSON header, the header (name -> dtype,
shape, first and last byte), the bytes. So everything but the tables is copied as bytes, and a model
of any size needs no more memory than one of its tables takes in float64 blocks.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from spire_dsu.errors import ModelError
from spire_dsu.storage import AtomicFile, write_file
from spire_training.vocabulary.rows import Float64

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_BLOCK_ROWS = 2048
_COPY = 1 << 24


def files_of(folder: Path) -> dict[str, str]:
    """Tensor name -> file name, for the files of a model.

    Raises:
        ModelError: there are no safetensors, or they cannot be read.
    """
    index = folder / INDEX
    try:
        if index.is_file():
            listed: dict[str, str] = json.loads(index.read_bytes())["weight_map"]
            return listed
        with safe_open(folder / SINGLE, "pt") as file:
            return dict.fromkeys(file.keys(), SINGLE)
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: holds neither {SINGLE} nor {INDEX}") from error
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise ModelError(f"{folder}: its weights cannot be read: {error}") from error


def shape_of(folder: Path, file: str, tensor: str) -> tuple[int, ...]:
    """Shape of a tensor.

    Raises:
        ModelError: its dtype is none that rows can be added to.
    """
    with safe_open(folder / file, "pt") as opened:
        part = opened.get_slice(tensor)
        if part.get_dtype() not in DTYPES:
            raise ModelError(f"{folder / file}: {tensor} is {part.get_dtype()}, not of floats")
        return tuple(part.get_shape())


def blocks_of(folder: Path, file: str, tensor: str, rows: int) -> Iterator[Float64]:
    """The first `rows` rows of a table, in blocks float64 [n, D]."""
    with safe_open(folder / file, "pt") as opened:
        part = opened.get_slice(tensor)
        for first in range(0, rows, _BLOCK_ROWS):
            yield part[first : min(first + _BLOCK_ROWS, rows)].double().numpy()


def copy_with_rows(
    source: Path, target: Path, new: dict[str, Float64], kept_rows: int
) -> dict[str, int]:
    """Copies a safetensors file; some tables end in new rows after their first `kept_rows`.

    Args:
        source: the file to read.
        target: the file to write.
        new: table -> float64 [n, D], rows that follow the kept ones; cast to the table's dtype.
        kept_rows: rows whose bytes stay.

    Returns:
        tensor -> its bytes in the new file.
    """
    with source.open("rb") as file, AtomicFile(target) as out:
        (size,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(size))
        start = 8 + size
        old = {name: dict(about) for name, about in header.items() if name != "__metadata__"}
        names = sorted(old, key=lambda name: old[name]["data_offsets"])
        at = 0
        for name in names:
            about = header[name]
            first, last = old[name]["data_offsets"]
            length = last - first
            if name in new:
                row = length // about["shape"][0]
                about["shape"] = [kept_rows + len(new[name]), *about["shape"][1:]]
                length = row * about["shape"][0]
            about["data_offsets"] = [at, at + length]
            at += length
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        out.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            first, last = old[name]["data_offsets"]
            tail = _cast(new[name], old[name]["dtype"]) if name in new else b""
            keep = last - first
            if name in new:
                keep = keep // old[name]["shape"][0] * kept_rows
            file.seek(start + first)
            for chunk in _chunks(file, keep):
                out.write(chunk)
            out.write(tail)
    return {n: int(np.diff(header[n]["data_offsets"])[0]) for n in names}


def write_model(source: Path, target: Path, new: dict[str, Float64], kept_rows: int) -> None:
    """Copies a model's weights with new rows; see `copy_with_rows`.

    Raises:
        ModelError: the weights cannot be read.
    """
    files = files_of(source)
    total = 0
    for name in sorted(set(files.values())):
        wanted = {table: rows for table, rows in new.items() if files[table] == name}
        if wanted:
            total += sum(copy_with_rows(source / name, target / name, wanted, kept_rows).values())
        else:
            shutil.copyfile(source / name, target / name)
            total += _tensor_bytes(source / name)
    if (source / INDEX).is_file():
        index = json.loads((source / INDEX).read_bytes())
        index.setdefault("metadata", {})["total_size"] = total
        write_file(target / INDEX, json.dumps(index, indent=2).encode() + b"\n")


def _tensor_bytes(path: Path) -> int:
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
    return int(path.stat().st_size - 8 - size)


def _chunks(file: Any, size: int) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(size, _COPY))
        if not chunk:
            raise ModelError(f"{file.name}: ends {size} bytes early")
        size -= len(chunk)
        yield chunk


def _cast(rows: Float64, dtype: str) -> bytes:
    """The bytes of rows in a table's dtype."""
    data: bytes = torch.from_numpy(rows).to(DTYPES[dtype]).view(torch.uint8).numpy().tobytes()
    return data
