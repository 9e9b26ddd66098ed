"""Process groups: who computes which part of the model and of the batch."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from spire_training.cpt import cpu
from spire_training.cpt.config import ParallelConfig, pieces

_PATIENCE = datetime.timedelta(minutes=30)


@contextmanager
def process_groups(config: ParallelConfig, store: Any = None) -> Iterator[None]:
    """Joins the processes that torchrun started, or stands alone, for the time of a `with` block.

    Args:
        config: how the model is cut.
        store: a `torch.distributed` store to meet in, instead of torchrun's address.

    Raises:
        ConfigError: the model cannot be cut over so many processes.
    """
    from megatron.core import parallel_state as state
    from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    pieces(config, world)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        cpu.install()
    if store is None and world == 1:
        store = dist.HashStore()  # type: ignore[attr-defined]  # alone: no port is opened
    where = {"init_method": "env://"} if store is None else {"store": store}
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", rank=rank, world_size=world, timeout=_PATIENCE, **where
    )
    try:
        state.initialize_model_parallel(
            tensor_model_parallel_size=config.tensor,
            pipeline_model_parallel_size=config.pipeline,
        )
        model_parallel_cuda_manual_seed(0)  # asked for by layers; no dropout ever draws from it
        yield
    finally:
        state.destroy_model_parallel()
        dist.destroy_process_group()


def is_first() -> bool:
    """Whether this is the process that writes logs and small files."""
    return dist.get_rank() == 0


def device() -> torch.device:
    """Where this process computes."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask together."""
    value = torch.tensor([int(flag)], device=device())
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())
