"""The state of a run on disk: whole or not there, and the same for any division over processes.

    OUT/checkpoints/step-00000050/   megatron-core's distributed checkpoint
    OUT/checkpoints/latest.json      written last: the step to go on from, and what the run is

A checkpoint counts once `latest.json` names it. Megatron-core keeps a part of it (`common.pt`) in
torch's pickle format and reads it back with torch's restricted loader; what is read is this run's
own output and nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as torch_checkpoint
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.strategies.torch import (
    MCoreSavePlanner,
    TorchDistSaveShardedStrategy,
    _replace_state_dict_keys_with_sharded_keys,
    mcore_to_pyt_state_dict,
)
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.distrib_optimizer import HAVE_APEX_OR_TE, DistributedOptimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from pydantic import JsonValue

from spire_dsu.config import differing
from spire_dsu.errors import SpireError
from spire_dsu.files import write_atomically
from spire_training.cpt.disk import force_to_disk
from spire_training.cpt.model import Built
from spire_training.cpt.parallel import is_first

_NAME = re.compile(r"step-(\d{8})")
# Gathers each optimizer state whole before it is cut for saving, so that another division over
# processes can read it.
_METADATA = {"distrib_optim_sharding_type": "fully_reshardable"}


class _InProcess(TorchDistSaveShardedStrategy):  # type: ignore[misc]
    """Megatron-core's format, written by this process.

    Megatron-core's own writer forks, with a helper process that imports the main program again: the
    first save of a small model took 40 s instead of 1, and where a fork dies the run waits forever.
    """

    def save(self, sharded_state_dict: Any, checkpoint_dir: Path) -> None:
        """Writes the tensors; all processes call it together."""
        named, _, _ = _replace_state_dict_keys_with_sharded_keys(sharded_state_dict, True)
        torch_checkpoint.save(  # type: ignore[attr-defined]
            mcore_to_pyt_state_dict(named, False),
            storage_writer=torch_checkpoint.FileSystemWriter(checkpoint_dir),  # type: ignore[attr-defined]
            planner=MCoreSavePlanner(dedup_replicated_tensors=False, flatten_state_dict=False),
        )


class CheckpointError(SpireError):
    """A checkpoint that is damaged, or belongs to another run."""


@dataclass(frozen=True, slots=True)
class State:
    """All that changes from update to update."""

    built: Built
    optimizer: MegatronOptimizer
    scheduler: OptimizerParamScheduler


def save(folder: Path, step: int, held: State, facts: dict[str, JsonValue], keep: int) -> None:
    """Writes the state after `step` updates; all processes call it together.

    Args:
        folder: OUT/checkpoints.
        step: updates done.
        held: the state.
        facts: what decides the run's result (`run_facts`).
        keep: how many checkpoints stay, this one included.
    """
    path = folder / f"step-{step:08d}"
    if is_first():
        shutil.rmtree(path, ignore_errors=True)  # what a killed run left half written
        path.mkdir(parents=True)
    torch.distributed.barrier()
    content = _sharded(held, is_loading=False)
    content["step"] = step
    content["scheduler"] = held.scheduler.state_dict()
    dist_checkpointing.save(
        content,
        str(path),
        sharded_strategy=_InProcess("torch_dist", 1),
        content_metadata=_METADATA,
    )
    torch.distributed.barrier()
    if is_first():
        force_to_disk(path)
        latest = {"step": step, "facts": facts}
        write_atomically(folder / "latest.json", json.dumps(latest, indent=2).encode())
        for old in sorted(_steps(folder))[:-keep]:
            shutil.rmtree(folder / f"step-{old:08d}")
    torch.distributed.barrier()


def latest_step(folder: Path, facts: dict[str, JsonValue]) -> int:
    """The step that a run can go on from; 0 where there is none.

    Raises:
        CheckpointError: the checkpoints are of a run with other facts; each is named.
    """
    try:
        latest = json.loads((folder / "latest.json").read_text())
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise CheckpointError(f"{folder / 'latest.json'} is damaged: {error}") from error
    changed = differing(_flat(latest["facts"]), _flat(facts))
    if changed:
        raise CheckpointError(
            f"{folder.parent} holds a run with other settings: {'; '.join(changed)}. Use another "
            "folder, or the same settings."
        )
    return int(latest["step"])


def load(folder: Path, step: int, held: State) -> None:
    """Brings the state back to where it was after `step` updates.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    path = folder / f"step-{step:08d}"
    ready = _with_torchs_adam(held.optimizer)
    content = _sharded(held, is_loading=True)
    try:
        content = dist_checkpointing.load(content, str(path))
    except Exception as error:  # whatever a damaged file makes torch raise
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    held.built.model.load_state_dict(content["model"])
    held.optimizer.load_state_dict(content["optimizer"])
    _apart(ready)
    held.scheduler.load_state_dict(content["scheduler"])


def _sharded(held: State, *, is_loading: bool) -> dict[str, Any]:
    model = held.built.model.sharded_state_dict(metadata=_METADATA)
    optimizer = held.optimizer.sharded_state_dict(model, is_loading=is_loading, metadata=_METADATA)
    return {"model": model, "optimizer": optimizer}


def _with_torchs_adam(optimizer: MegatronOptimizer) -> list[DistributedOptimizer]:
    """Makes new distributed optimizers ready for a load, where their AdamW is torch's.

    Megatron-core takes torch's where Transformer Engine and Apex are missing, and its load then
    fails: it asks for a count of updates before there is one, and looks for that count among the
    tensors of each parameter, where its own save has left it out.

    Returns:
        Those optimizers; `_apart` has to follow the load.
    """
    found = [
        each
        for each in getattr(optimizer, "chained_optimizers", [optimizer])
        if isinstance(each, DistributedOptimizer) and not HAVE_APEX_OR_TE
    ]
    for each in found:
        for parameter in (p for group in each.optimizer.param_groups for p in group["params"]):
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            each.optimizer.state[parameter] = {"step": torch.tensor(0.0), **moments}
        each._set_main_param_and_optimizer_states = partial(_set_tensors, each)
    return found


def _set_tensors(optimizer: DistributedOptimizer, parameter: Any, tensors: Any) -> None:
    group, place = optimizer.model_param_group_index_map[parameter]
    main = optimizer.optimizer.param_groups[group]["params"][place]
    held = {"param": main, **optimizer.optimizer.state[main]}
    for name, tensor in tensors.items():
        held[name].copy_(tensor)


def _apart(optimizers: list[DistributedOptimizer]) -> None:
    """Gives each parameter its own count: the load shares one, and every parameter would add 1."""
    for optimizer in optimizers:
        for held in optimizer.optimizer.state.values():
            held["step"] = held["step"].clone()


def _steps(folder: Path) -> list[int]:
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return [int(match[1]) for match in found if match]


def _flat(facts: JsonValue, prefix: str = "") -> dict[str, JsonValue]:
    if not isinstance(facts, dict):
        return {prefix: facts}
    flat: dict[str, JsonValue] = {}
    for key, value in facts.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat
