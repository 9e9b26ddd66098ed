"""What megatron-core 0.16.1 needs to train on a CPU: five replacements, each with its reason.

megatron-core is written for CUDA and says so in a few fixed places. With gloo as the transport, and
with its CUDA-only fusions switched off by configuration, these are all that stand in the way; each
was found necessary by leaving it out. On a machine with a GPU nothing here runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _CudaMeansCpu(TorchFunctionMode):
    """Sends what is literally asked of "cuda" to the CPU.

    - `device="cuda"`: schedules.py and optimizer.py make counters and scales there.
    - `Tensor.cuda()`: clip_grads.py and the exchange of metadata for checkpoints.
    - `Tensor.type()`: clip_grads.py and distrib_optimizer.py tell a parameter's dtype by its name
      and know the names of CUDA tensors only.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.type and len(args) == 1 and not named:
            return func(*args).replace("torch.", "torch.cuda.", 1)
        device = named.get("device")
        if device is not None and str(device).startswith("cuda"):
            named["device"] = torch.device("cpu")
        return func(*args, **named)


_mode: _CudaMeansCpu | None = None


def install() -> None:
    """Makes megatron-core run on the CPU in this process; does nothing the second time.

    For the whole process, as megatron-core's modules look these names up whenever they run.
    """
    global _mode
    if _mode is not None:
        return
    # Buffers, layers and mappings make their tensors on the current device.
    torch.cuda.current_device = lambda: torch.device("cpu")  # type: ignore[assignment,return-value]
    # Pipeline transfers and checkpoint writers wait for the device; the CPU has nothing to wait on.
    torch.cuda.synchronize = lambda device=None: None  # noqa: ARG005
    # Its random state per tensor-parallel rank is a CUDA generator's, for dropout. We have none, so
    # megatron-core's own tracker that does nothing (made for inference) is exact here.
    from megatron.core.tensor_parallel.random import initialize_rng_tracker

    initialize_rng_tracker(inference_rng_tracker=True)
    _mode = _CudaMeansCpu()
    _mode.__enter__()  # type: ignore[no-untyped-call]
