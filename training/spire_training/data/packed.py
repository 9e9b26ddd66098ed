"""The folder that training reads: rows of `sequence_length` tokens with a mark for each token.

    DATA/train.bin, train.idx              token ids, a megatron-core IndexedDataset
    DATA/train.marks.bin, train.marks.idx  a uint8 mark per token, in the same form
    DATA/held.*                            the same for held-out data
    DATA/manifest.json                     written last: digests, sizes, counts, vocabulary

A mark says what a token is (`KIND`), whether it is learned (`LEARNED`) and whether a document
begins with it (`START`). Losses are masked by these marks, never by the value of a token: a padding
token may be the end of a sentence elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import SpireError
from spire_dsu.export.megatron import CODES, HEADER, MAGIC, SMALL_VOCABULARY
from spire_dsu.files import sha256_of_file
from spire_dsu.shards import seal, unseal
from spire_dsu.storage import AtomicFile, write_file
from spire_dsu.types import Int32, Int64

FORMAT = "spire-dsu-packed"
VERSION = 1
MANIFEST = "manifest.json"
Split = Literal["train", "held"]
SPLITS: tuple[Split, Split] = ("train", "held")

PADDING, UNITS, TRANSCRIPT, PARALLEL, MONOLINGUAL, PROMPT, ANSWER = range(7)
KINDS = ("padding", "units", "transcript", "parallel", "monolingual", "prompt", "answer")
"""Names of the kinds; a token's kind is `mark & KIND`."""
KIND = 0b0000_0111
LEARNED = 0b0100_0000
START = 0b1000_0000
_UNUSED = 0b0011_1000

_BLOCK_BYTES = 1 << 25
_UINT8_CODE = 1  # megatron-core's code of uint8

Marks = npt.NDArray[np.uint8]


class PackedError(SpireError):
    """A packed folder that is not finished, damaged, or not what was asked for."""


def token_type(num_tokens: int) -> Any:
    """The dtype of token ids, as megatron-core chooses it: uint16 below 65,500 tokens.

    Raises:
        PackedError: no dtype holds that many.
    """
    if not 0 < num_tokens < 1 << 31:
        raise PackedError(f"a vocabulary of {num_tokens} tokens fits no dtype of token ids")
    return np.uint16 if num_tokens < SMALL_VOCABULARY else np.int32


def order(seed: int, epoch: int, rows: int) -> Int64:
    """int64 [rows]: which row stands at each place of an epoch.

    It depends on these three numbers alone: not on how many processes read, where they restarted,
    or the version of a library (the keys are SplitMix64's, sorted).

    Args:
        seed: of the run.
        epoch: 0 for the first.
        rows: how many there are.
    """
    start = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03) % (1 << 64)
    first: npt.NDArray[np.uint64] = np.full(1, start, np.uint64)
    numbers: npt.NDArray[np.uint64] = np.arange(rows, dtype=np.uint64)
    places: Int64 = np.argsort(mixed(mixed(first) + numbers), kind="stable").astype(np.int64)
    return places


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea and Flood 2014), element by element."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return out


def index_bytes(rows: int, length: int, dtype: Any) -> Iterable[bytes]:
    """The content of an `.idx`: sequences of one length, each a document of its own."""
    code = (
        _UINT8_CODE if dtype is np.uint8 else next(c for c, kind in CODES.items() if kind is dtype)
    )
    yield HEADER.pack(MAGIC, 1, code, rows, rows + 1)
    yield np.full(rows, length, np.int32).tobytes()
    yield (np.arange(rows, dtype=np.int64) * (length * np.dtype(dtype).itemsize)).tobytes()
    yield np.arange(rows + 1, dtype=np.int64).tobytes()


class RowWriter:
    """Writes the rows of one split; the files get their names when the `with` block ends well.

    Args:
        folder: where; must exist.
        split: "train" or "held".
        length: tokens of every row.
        num_tokens: size of the vocabulary; every id is below it.
    """

    def __init__(self, folder: Path, split: Split, length: int, num_tokens: int) -> None:
        self.rows = 0
        self._folder, self._split, self._length = folder, split, length
        self._limit, self._dtype = num_tokens, token_type(num_tokens)
        self._tokens = AtomicFile(folder / f"{split}.bin")
        try:
            self._marks = AtomicFile(folder / f"{split}.marks.bin")
        except BaseException as error:
            self._tokens.__exit__(type(error), error, None)
            raise
        self._files: list[AtomicFile] = []

    def write(self, tokens_L: Int32, marks_L: Marks) -> None:
        """Adds a row.

        Raises:
            PackedError: an id is outside of the vocabulary, or the row has another length.
        """
        if tokens_L.shape != (self._length,) or marks_L.shape != (self._length,):
            raise PackedError(f"a row has {self._length} tokens, not {tokens_L.shape}")
        if tokens_L.min() < 0 or tokens_L.max() >= self._limit:
            raise PackedError(
                f"token {int(tokens_L.max())} is outside of a vocabulary of {self._limit}"
            )
        self._tokens.write(np.ascontiguousarray(tokens_L, self._dtype))
        self._marks.write(np.ascontiguousarray(marks_L, np.uint8))
        self.rows += 1

    def facts(self) -> dict[str, dict[str, Any]]:
        """Size and digest of every file, by name; after the `with` block."""
        return {f.path.name: {"bytes": f.size, "sha256": f.sha256} for f in self._files}

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tokens.__exit__(kind, error, trace)
        self._marks.__exit__(kind, error, trace)
        if kind is not None:
            return
        self._files = [self._tokens, self._marks]
        for suffix, dtype in (("idx", self._dtype), ("marks.idx", np.uint8)):
            with AtomicFile(self._folder / f"{self._split}.{suffix}") as file:
                for part in index_bytes(self.rows, self._length, dtype):
                    file.write(part)
            self._files.append(file)


def write_manifest(folder: Path, content: dict[str, Any]) -> Path:
    """Writes `manifest.json` with a digest of itself: from now on the folder is finished.

    Args:
        folder: the packed folder.
        content: plain data with at least `sequence_length`, `rows`, `vocabulary` and `files`.
    """
    write_file(folder / MANIFEST, seal({"format": FORMAT, "version": VERSION, **content}))
    return folder / MANIFEST


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a packed folder's `manifest.json`.

    Raises:
        PackedError: there is none (`spire-dsu train prepare` has not finished), or it is damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        content = unseal(path.read_bytes())
    except OSError as error:
        raise PackedError(f"{path}: {error.strerror}; is the data finished?") from error
    except ValueError as error:
        raise PackedError(f"{path} is damaged: {error}") from error
    if (content.get("format"), content.get("version")) != (FORMAT, VERSION):
        raise PackedError(f"{path}: not the manifest of packed data of version {VERSION}")
    return content


class PackedRows:
    """The rows of one split of a packed folder, read from disk as they are asked for.

    Who writes the folder gives the manifest that is to come, and verifies the rows before it.

    Attributes:
        folder: the packed folder.
        split: "train" or "held".
        manifest: the content of its `manifest.json`.
        sequence_length: tokens of every row.

    Raises:
        PackedError: the folder is not finished, or a file has another size than is listed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: Split = "train",
        *,
        manifest: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.split = Path(folder), split
        self.manifest = read_manifest(folder) if manifest is None else manifest
        self.sequence_length = int(self.manifest["sequence_length"])
        self._rows = int(self.manifest["rows"][split])
        self._num_tokens = int(self.manifest["vocabulary"]["num_tokens"])
        self._dtype = token_type(self._num_tokens)
        for name, about in self._listed().items():
            size = _size(self.folder / name)
            if size != about["bytes"]:
                raise PackedError(
                    f"{self.folder / name}: {size} bytes, but {about['bytes']} were written"
                )
        self._tokens = self._mapped("bin", self._dtype)
        self._marks = self._mapped("marks.bin", np.uint8)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> tuple[Int32, Marks]:
        """Tokens int32 [L] and marks uint8 [L] of a row, as copies."""
        if not 0 <= row < self._rows:
            raise IndexError(f"row {row} of {self._rows}")
        return self._tokens[row].astype(np.int32), np.array(self._marks[row])

    def verify(self) -> None:
        """Reads every byte of the split: digests, indices, id range, and the rules of the marks.

        Raises:
            PackedError: names the file at fault.
        """
        for name, about in self._listed().items():
            if sha256_of_file(self.folder / name) != about["sha256"]:
                raise PackedError(
                    f"{self.folder / name}: damaged: its bytes are not those that were written"
                )
        for suffix, dtype in (("idx", self._dtype), ("marks.idx", np.uint8)):
            path = self.folder / f"{self.split}.{suffix}"
            expected = b"".join(index_bytes(self._rows, self.sequence_length, dtype))
            if path.read_bytes() != expected:
                raise PackedError(f"{path}: does not fit {self._rows} rows")
        step = max(1, _BLOCK_BYTES // (8 * self.sequence_length))
        for first in range(0, self._rows, step):
            block = slice(first, first + step)
            wrong = fault_of(self._tokens[block], self._marks[block], self._num_tokens)
            if wrong:
                raise PackedError(f"{self.folder / self.split}: row {first + wrong[0]}: {wrong[1]}")

    def _listed(self) -> dict[str, dict[str, Any]]:
        names = [f"{self.split}.{end}" for end in ("bin", "idx", "marks.bin", "marks.idx")]
        try:
            return {name: self.manifest["files"][name] for name in names}
        except KeyError as error:
            raise PackedError(f"{self.folder / MANIFEST}: lists no {error}") from error

    def _mapped(self, suffix: str, dtype: Any) -> Any:
        shape = (self._rows, self.sequence_length)
        if not self._rows:
            return np.zeros(shape, dtype)
        return np.memmap(self.folder / f"{self.split}.{suffix}", dtype, "r", shape=shape)


def fault_of(tokens_NL: Any, marks_NL: Any, num_tokens: int) -> tuple[int, str] | None:
    """The first row that breaks a rule of packed rows, and which; None if all are good.

    Args:
        tokens_NL: integers [N, L].
        marks_NL: uint8 [N, L].
        num_tokens: every id is below it.
    """
    kinds = marks_NL & KIND
    starts, learned = (marks_NL & START) != 0, (marks_NL & LEARNED) != 0
    padding = kinds == PADDING
    rules = {
        f"a token outside of a vocabulary of {num_tokens}": (tokens_NL < 0)
        | (tokens_NL >= num_tokens),
        "an unknown mark": (kinds >= len(KINDS)) | ((marks_NL & _UNUSED) != 0),
        "learned padding": padding & (marks_NL != 0),
        "a token behind padding": padding[:, :-1] & ~padding[:, 1:],
        "a document's first token is learned": starts & learned,
        "a row that does not begin with a document": ~starts[:, :1] & ~padding[:, :1],
    }
    for text, bad in rules.items():
        if bad.any():
            return int(np.argmax(bad.any(axis=1))), text
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise PackedError(f"{path}: {error.strerror}") from error
