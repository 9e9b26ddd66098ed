"""Megatron-core's IndexedDataset: PREFIX.bin holds token ids, PREFIX.idx says where each document
is.

The file format is megatron-core's (core/datasets/indexed_dataset.py), whose own builder appends
utterance by utterance and imports torch; this writer appends shard by shard. A test compares the
two byte by byte.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.export.common import (
    FORMAT,
    Exported,
    ExportError,
    Tally,
    check_digest,
    make_room,
    note_path,
    write_note,
)
from spire_dsu.shards import Shards, UnitBatch, open_shards, unseal
from spire_dsu.storage import AtomicFile

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, document borders
CODES: dict[int, Any] = {8: np.uint16, 4: np.int32}
SMALL_VOCABULARY = 65_500
"""Below it megatron-core stores uint16, from it on int32 (DType.optimal_dtype)."""


def export_megatron(
    folder: str | os.PathLike[str],
    prefix: str | os.PathLike[str],
    *,
    first_unit_token: int,
    vocab_size: int | None = None,
    end_token: int | None = None,
) -> Exported:
    """Writes PREFIX.bin and PREFIX.idx, reads them back, and then writes PREFIX.json.

    A unit becomes the token `first_unit_token + unit`; an utterance is a sequence and a document.
    Rows without units are left out and counted.

    Args:
        folder: a finished conversion.
        prefix: path of the files without their suffixes; its folder is made when absent.
        first_unit_token: token id of unit 0 (32005 in the released Spire tokenizers).
        vocab_size: size of the vocabulary, which decides between uint16 and int32; by default the
            smallest that has room for all tokens.
        end_token: a token to append to every document, or None.

    Raises:
        ExportError: a token does not fit the vocabulary, or what was written does not read back.
        ShardError: the conversion is not finished or damaged.
        OSError: the disk failed.
    """
    shards = open_shards(folder)
    dtype = _token_type(shards.num_clusters, first_unit_token, vocab_size, end_token)
    base = Path(prefix)
    binary, index = (base.with_name(f"{base.name}.{suffix}") for suffix in ("bin", "idx"))
    make_room(note_path(base), index)
    tally = Tally()
    lengths: list[Any] = []
    with AtomicFile(binary) as tokens_file:
        for batch, ok_N in tally.with_units(shards):
            tokens = _tokens(batch, ok_N, first_unit_token, end_token, dtype)
            tokens_file.write(tokens)
            tally.units += tokens.size
            lengths.append(np.diff(batch.row_splits)[ok_N] + (end_token is not None))
    lengths_N = np.concatenate([np.zeros(0, np.int32), *lengths]).astype(np.int32)
    with AtomicFile(index) as index_file:
        code = next(code for code, kind in CODES.items() if kind is dtype)
        index_file.write(HEADER.pack(MAGIC, 1, code, lengths_N.size, lengths_N.size + 1))
        index_file.write(lengths_N)
        index_file.write(_pointers(lengths_N, dtype))
        index_file.write(np.arange(lengths_N.size + 1, dtype=np.int64))
    _read_back(base, tokens_file, index_file, _range(shards, first_unit_token, end_token))
    options = {
        "first_unit_token": first_unit_token,
        "vocab_size": vocab_size,
        "end_token": end_token,
        "dtype": np.dtype(dtype).name,
    }
    note = write_note(base, "megatron", shards, tally, [tokens_file, index_file], **options)
    return tally.exported(binary, index, note)


def _token_type(
    clusters: int, first_unit_token: int, vocab_size: int | None, end_token: int | None
) -> Any:
    needed = max(first_unit_token + clusters, (end_token or 0) + 1)
    vocabulary = needed if vocab_size is None else vocab_size
    if first_unit_token < 0 or (end_token or 0) < 0:
        raise ExportError(f"negative token: first unit {first_unit_token}, end {end_token}")
    if not needed <= vocabulary < 1 << 31:
        raise ExportError(f"a vocabulary of {vocabulary} has no room for token {needed - 1}")
    return np.uint16 if vocabulary < SMALL_VOCABULARY else np.int32


def _tokens(
    batch: UnitBatch, ok_N: Any, first_unit_token: int, end_token: int | None, dtype: Any
) -> Any:
    """The tokens of a batch's documents, one after another. Rows without units have none to
    skip."""
    tokens = batch.units.astype(dtype)
    tokens += dtype(first_unit_token)
    if end_token is None:
        return tokens
    return np.insert(tokens, batch.row_splits[1:][ok_N], dtype(end_token))


def _pointers(lengths_N: Any, dtype: Any) -> Any:
    """int64 [N], the byte at which each document starts."""
    ends = np.cumsum(lengths_N, dtype=np.int64) * np.dtype(dtype).itemsize
    return np.concatenate([np.zeros(1, np.int64), ends])[:-1] if lengths_N.size else ends


def _range(shards: Shards, first_unit_token: int, end_token: int | None) -> set[int]:
    """The smallest and the largest token that may occur."""
    allowed = {first_unit_token, first_unit_token + shards.num_clusters - 1}
    return allowed | ({end_token} if end_token is not None else set())


def _read_back(
    base: Path, tokens_file: AtomicFile, index_file: AtomicFile, allowed: set[int]
) -> None:
    for file in (tokens_file, index_file):
        check_digest(file.path, file.size, file.sha256)
    _check_pair(base, min(allowed), max(allowed))


def _check_pair(base: Path, lowest: int, highest: int) -> None:
    """Checks that the index fits the tokens, and that no token is outside of a range."""
    index = base.with_name(f"{base.name}.idx")
    data = index.read_bytes()
    if len(data) < HEADER.size:
        raise ExportError(f"{index}: only {len(data)} bytes")
    magic, version, code, sequences, borders = HEADER.unpack_from(data)
    expected = HEADER.size + 12 * sequences + 8 * borders
    if (magic, version, borders) != (MAGIC, 1, sequences + 1) or code not in CODES:
        raise ExportError(f"{index}: not an index of one document per sequence")
    if len(data) != expected:
        raise ExportError(f"{index}: {len(data)} bytes, not {expected}")
    lengths_N = np.frombuffer(data, np.int32, sequences, HEADER.size)
    pointers_N = np.frombuffer(data, np.int64, sequences, HEADER.size + 4 * sequences)
    dtype = CODES[code]
    tokens = np.memmap(base.with_name(f"{base.name}.bin"), dtype, "r") if sequences else np.zeros(0)
    if (lengths_N < 1).any() or lengths_N.sum(dtype=np.int64) != tokens.size:
        raise ExportError(f"{index}: its lengths are not those of {tokens.size} tokens")
    if not np.array_equal(pointers_N, _pointers(lengths_N, dtype)):
        raise ExportError(f"{index}: its pointers do not follow from its lengths")
    for start in range(0, tokens.size, 1 << 24):
        block = tokens[start : start + (1 << 24)]
        if block.min() < lowest or block.max() > highest:
            raise ExportError(f"{base}.bin: a token outside of {lowest} to {highest}")


def check_megatron(prefix: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads an export again before it is trained on: digests, sizes, index and token range.

    Args:
        prefix: what `export_megatron` was given.

    Returns:
        The content of PREFIX.json.

    Raises:
        ExportError: something is missing, damaged, or not of this export.
    """
    base = Path(prefix)
    note = note_path(base)
    try:
        content = unseal(note.read_bytes())
        if (content["format"], content["version"], content["to"]) != (FORMAT, 1, "megatron"):
            raise ExportError(f"{note}: not the note of a Megatron export")
        for suffix in ("bin", "idx"):
            name = f"{base.name}.{suffix}"
            about = content["files"][name]
            check_digest(base.with_name(name), about["bytes"], about["sha256"])
        options, clusters = content["options"], content["fingerprint"]["num_clusters"]
        tokens = [options["first_unit_token"], options["first_unit_token"] + clusters - 1]
        tokens += [] if options["end_token"] is None else [options["end_token"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"{note}: missing or damaged ({error})") from error
    _check_pair(base, min(tokens), max(tokens))
    return dict(content)
