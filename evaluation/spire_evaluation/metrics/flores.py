"""The FLORES-200 tokenizer of spBLEU: a SentencePiece model from a local file, never fetched.

sacrebleu would download it on first use, and writes "tok:flores200" into the signature whatever
the file holds; so the file is found here, and its digest goes beside the signature.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
from sacrebleu.tokenizers.tokenizer_base import BaseTokenizer

from spire_dsu.errors import InputError
from spire_dsu.files import sha256_of_file

FILE = "flores200sacrebleuspm"
"""What sacrebleu calls the file in its folder of models."""

SETTING = "SPIRE_FLORES_SPM"


class FloresTokenizer(BaseTokenizer):
    """The pieces of a text, separated by spaces, as sacrebleu's `flores200` gives them."""

    def __init__(self, path: Path) -> None:
        self.model = sentencepiece.SentencePieceProcessor()
        try:
            self.model.Load(str(path))
        except (OSError, RuntimeError) as error:
            raise InputError(f"{path}: not a SentencePiece model: {error}") from error
        # The references of a test set come again with every system.
        self._pieces = functools.lru_cache(maxsize=1 << 16)(self.model.EncodeAsPieces)

    def signature(self) -> str:
        return "flores200"

    def __call__(self, line: str) -> str:
        return " ".join(self._pieces(line))


@dataclass(frozen=True, slots=True)
class Flores:
    """A tokenizer and the SHA-256 of its file."""

    tokenizer: FloresTokenizer
    sha256: str


def load_flores(path: Path | None, sha256: str | None) -> Flores:
    """The tokenizer of a file.

    Args:
        path: the file; None: $SPIRE_FLORES_SPM, or else sacrebleu's own folder.
        sha256: what its digest must be; None: not compared.

    Raises:
        InputError: there is no such file, it is no SentencePiece model, or its digest differs.
    """
    found = path or Path(os.environ.get(SETTING) or _sacrebleu_models() / FILE)
    if not found.is_file():
        raise InputError(
            f"spBLEU needs the FLORES-200 SentencePiece model, and {found} is no file: put the one "
            f"that sacrebleu calls {FILE} there, or name it (--flores-spm, or {SETTING})"
        )
    return _load(found.resolve(), found.stat().st_mtime_ns, sha256)


@functools.lru_cache(maxsize=4)
def _load(path: Path, changed: int, sha256: str | None) -> Flores:
    del changed  # part of the key: a file that was replaced is read again
    digest = sha256_of_file(path)
    if sha256 is not None and digest != sha256:
        raise InputError(f"{path}: SHA-256 is {digest}, not {sha256}")
    return Flores(FloresTokenizer(path), digest)


def _sacrebleu_models() -> Path:
    home = os.environ.get("SACREBLEU")
    return (Path(home) if home else Path.home() / ".sacrebleu") / "models"
