"""Reading the weights of a Hugging Face folder without holding them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from spire_dsu.errors import ModelError


class Weights:
    """The tensors of a Hugging Face folder by name, read as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}

    def __enter__(self) -> Weights:
        from safetensors import SafetensorError, safe_open

        try:
            for path in sorted(self._folder.glob("*.safetensors")):
                file = safe_open(path, framework="pt")
                self._files |= dict.fromkeys(file.keys(), file)  # type: ignore[no-untyped-call]
        except SafetensorError as error:
            raise ModelError(f"{path}: cannot be read: {error}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.clear()

    def read(self, name: str) -> Tensor:
        """The tensor of this name.

        Raises:
            ModelError: there is none.
        """
        if name not in self._files:
            raise ModelError(f"{self._folder}: no weights {name!r} in its safetensors files")
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor
