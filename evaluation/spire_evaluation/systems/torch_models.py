"""What the baselines share of torch."""

from __future__ import annotations

from typing import Any

from spire_evaluation.config import BaselineConfig


def device() -> str:
    """A GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def release() -> None:
    """Gives back the memory of models that nobody holds any more."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_processor(config: BaselineConfig) -> Any:
    """The model's tokenizer and feature extractor, as transformers pairs them."""
    from transformers import AutoProcessor

    find: Any = AutoProcessor
    return find.from_pretrained(config.model, local_files_only=True)


def load_model(kind: Any, config: BaselineConfig) -> Any:
    """A model of transformers from a local folder, ready to answer."""
    import torch

    model = kind.from_pretrained(
        config.model, dtype=getattr(torch, config.dtype), local_files_only=True
    )
    return model.eval().to(device())
