"""The end product of a run: a Hugging Face folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from megatron.core import parallel_state as state
from torch import Tensor

from spire_training.cpt.disk import force_to_disk
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

    writes = built.piece.rank == 0 and state.get_data_parallel_rank() == 0
    parts = _gathered(built, keep=writes)
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
    if writes:
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
        every = {name: about for some in everyone for name, about in some.items()}
        dtype = str(built.config.params_dtype).removeprefix("torch.")
        _finish_folder(base, temporary, out, every, dtype)
    torch.distributed.barrier()


def _gathered(built: Built, *, keep: bool) -> list[dict[str, Tensor]]:
    """The weights of each tensor-parallel process of this stage, gathered one matrix at a time."""
    group = state.get_tensor_model_parallel_group()
    parts: list[dict[str, Tensor]] = [{} for _ in range(built.piece.ranks)]
    for name, parameter in built.model.named_parameters():
        pieces = [torch.empty_like(parameter) for _ in parts]
        torch.distributed.all_gather(pieces, parameter.detach(), group=group)
        if keep:
            for part, piece in zip(parts, pieces, strict=True):
                part[name] = piece.cpu()
    return parts


def _finish_folder(
    base: Path, temporary: Path, out: Path, names: dict[str, tuple[str, int]], dtype: str
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
    config = json.loads((base / "config.json").read_text())
    config.pop("torch_dtype", None)  # transformers' older name of the same
    (temporary / "config.json").write_text(json.dumps({**config, "dtype": dtype}, indent=2))
    force_to_disk(temporary)
    temporary.replace(out)
