"""What tests of continued pre-training do inside of processes that `cpt_makers` starts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import megatron.core.dist_checkpointing  # noqa: F401
    import torch
    import transformers
    import transformers.models.llama.modeling_llama  # noqa: F401

    import spire_training.cpt.loop
    from spire_training.cpt import loop
    from spire_training.cpt.config import CptConfig
    from spire_training.cpt.trainer import Trainer

torch.set_num_threads(1)


def train(config: CptConfig, store: Any) -> bool:
    """A whole run."""
    return spire_training.cpt.loop.train(config, store)


def train_poisoned(config: CptConfig, at: int, store: Any) -> bool:
    """A run whose weights are not a number after `at` updates, as after a fault of the hardware."""
    update = Trainer.update
    done = [0]

    def poisoning(self: Trainer) -> float:
        norm = update(self)
        done[0] += 1
        if done[0] == at:
            with torch.no_grad():
                next(iter(self.built.model.parameters())).fill_(float("nan"))
        return norm

    Trainer.update = poisoning  # type: ignore[method-assign]
    return loop.train(config, store)


def parity(config: CptConfig, out: Path, tokens: Any, num_tokens: int, store: Any) -> Any:
    """Exports a model as it was read, and returns its logits [B, L, V] of whole rows; none where
    it is cut into stages, which only megatron-core's schedules run."""
    from spire_training.cpt.export import export
    from spire_training.cpt.model import build
    from spire_training.cpt.parallel import process_groups

    with process_groups(config.parallel, store), torch.no_grad():
        built = build(config, num_tokens, tokens.shape[1])
        found = None
        if config.parallel.pipeline == 1:
            found = _logits(built, torch.from_numpy(tokens))
        export(built, config.model, out)
        return found


def _logits(built: Any, ids: torch.Tensor) -> Any:
    from megatron.core import tensor_parallel

    from spire_training.cpt.attention import Documents
    from spire_training.cpt.data import Batch

    positions = torch.arange(ids.shape[1]).expand_as(ids).contiguous()
    zeros = torch.zeros_like(ids)
    batch = Batch(ids, zeros, zeros.float(), zeros, positions, ids.numel())
    documents = Documents.of(batch, built.frequencies, torch.float32)
    logits = built.model(ids, positions, documents)
    return tensor_parallel.gather_from_tensor_model_parallel_region(logits).numpy()
