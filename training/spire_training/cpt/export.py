"""The end product of a run: a Hugging Face folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from megatron.core import parallel_state as state

from spire_training.cpt.mapping import to_hugging_face
from spire_training.cpt.model import Built


def export(built: Built, base: Path, out: Path) -> None:
    """Writes the model as a Hugging Face folder: a file per pipeline stage, written by that stage.

    All processes call it together; the folder must be on a file system that they share.

    Args:
        built: the model.
        base: the folder it came from; configuration and tokenizer are copied from there.
        out: the folder to make; it gets its name when it is whole.
    """
    from safetensors.torch import save_file

    group = state.get_tensor_model_parallel_group()
    mine = {name: p.detach().cpu() for name, p in built.model.named_parameters()}
    parts: list[Any] = [None] * built.piece.ranks
    torch.distributed.all_gather_object(parts, mine, group=group)
    stages = state.get_pipeline_model_parallel_world_size()
    stage = state.get_pipeline_model_parallel_rank()
    temporary = out.with_name(f".{out.name}.tmp")
    first = torch.distributed.get_rank() == 0
    if first:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    torch.distributed.barrier()
    file = "model.safetensors"
    if stages > 1:
        file = f"model-{stage + 1:05d}-of-{stages:05d}.safetensors"
    names: dict[str, tuple[str, int]] = {}
    if built.piece.rank == 0 and state.get_data_parallel_rank() == 0:
        tensors = to_hugging_face(parts, built.shape, built.piece)
        save_file(
            {name: t.contiguous() for name, t in tensors.items()},
            temporary / file,
            metadata={"format": "pt"},
        )
        names = {name: (file, t.numel() * t.element_size()) for name, t in tensors.items()}
    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, names)
    if first:
        _finish_folder(base, temporary, out, {k: v for names in everyone for k, v in names.items()})
    torch.distributed.barrier()


def _finish_folder(
    base: Path, temporary: Path, out: Path, names: dict[str, tuple[str, int]]
) -> None:
    files = {file for file, _ in names.values()}
    if len(files) > 1:
        index = {
            "metadata": {"total_size": sum(size for _, size in names.values())},
            "weight_map": {name: file for name, (file, _) in sorted(names.items())},
        }
        (temporary / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    for path in sorted(base.iterdir()):
        weights = ".safetensors" in path.name or path.suffix in (".bin", ".pt", ".pth")
        if path.is_file() and not weights:
            shutil.copyfile(path, temporary / path.name)
    temporary.replace(out)
