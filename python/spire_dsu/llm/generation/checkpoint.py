"""What a Hugging Face folder says of how its model is to be asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from spire_dsu.files import sha256_of_file
from spire_dsu.llm.generation.settings import GenerationError
from spire_dsu.llm.rendering import TEXT_END, TURN_END

_WEIGHTS = "*.safetensors"
_DECIDING = ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model")


@dataclass(frozen=True)
class Checkpoint:
    """A model folder.

    Args:
        folder: config.json, safetensors and tokenizer files.

    Raises:
        GenerationError: no such folder, or it lacks one of them.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / "config.json").is_file():
            raise GenerationError(f"{self.folder}: not a model folder, it has no config.json")
        if not any(self.folder.glob(_WEIGHTS)):
            raise GenerationError(f"{self.folder}: the model folder has no {_WEIGHTS}")

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def num_tokens(self) -> int:
        """Tokens that the tokenizer knows; rows of the model from here on are padding."""
        return int(max(self.tokenizer.get_vocab().values())) + 1

    @cached_property
    def rows(self) -> int:
        """Rows of the model's embedding table."""
        rows = int(self._setting("vocab_size") or 0)
        if rows < self.num_tokens:
            raise GenerationError(
                f"{self.folder}: the tokenizer knows {self.num_tokens} tokens and the model "
                f"{rows}: the tokenizer is of another model"
            )
        return rows

    @cached_property
    def longest(self) -> int:
        """Most tokens of prompt and answer together."""
        return int(self._setting("max_position_embeddings") or 0) or 1 << 30

    @cached_property
    def end_tokens(self) -> list[int]:
        """What ends an answer: the ends of sequence that the folder names, ChatML's and Llama's."""
        known = self.tokenizer.get_vocab()
        found = {self.tokenizer.eos_token_id, known.get(TURN_END), known.get(TEXT_END)}
        for name in ("config.json", "generation_config.json"):
            named = self._setting("eos_token_id", name)
            found |= set(named if isinstance(named, list) else [named])
        return sorted(token for token in found if token is not None)

    def digest(self) -> str:
        """SHA-256 over the digests of weights, configuration and tokenizer."""
        files = sorted(self.folder.glob(_WEIGHTS))
        files += [self.folder / name for name in _DECIDING if (self.folder / name).is_file()]
        return digest_of_files(files)

    def _setting(self, key: str, file: str = "config.json") -> Any:
        path = self.folder / file
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise GenerationError(f"{path}: no JSON: {error}") from error
        return found.get(key)


def digest_of_files(files: Sequence[Path]) -> str:
    """SHA-256 over the names and digests of files, in this order.

    One reading of the weights serves every test set of a run; a changed file is read anew.
    """
    stats = ((file, file.stat()) for file in files)
    return _digest(tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats))


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    parts = [f"{path.name} {sha256_of_file(path)}\n" for path, _, _ in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest()
