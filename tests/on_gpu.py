"""What the tests on a GPU share: the mark that skips them elsewhere, the seed, the truth."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch

from spire_dsu import _core
from spire_dsu.types import Int32

needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() and "SPIRE_EXPECTS_GPU" not in os.environ,
        reason="no NVIDIA GPU here: torch.cuda.is_available() is False",
    ),
]

SEED = random.SystemRandom().randrange(2**31)
"""Another one for every run; pytest shows it when a test fails."""


def generator(salt: int = 0) -> torch.Generator:
    print("seed", SEED + salt)  # noqa: T201
    return torch.Generator("cuda").manual_seed(SEED + salt)


def normal(*shape: int, salt: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(salt), device="cuda").to(dtype)


def screens() -> list[str]:
    """The kernels that this GPU has."""
    hopper = torch.cuda.get_device_capability() == (9, 0)
    return ["portable", *(["hopper", "hopper_pair"] if hopper else [])]


def exact(features: torch.Tensor, centroids: torch.Tensor) -> Int32:
    """int32 [T] by the CPU kernels, whose own tests hold them to the definition."""
    host = features.detach().cpu()
    if host.dtype == torch.bfloat16:
        host = host.float()  # exact
    codebook = _core.Codebook(np.ascontiguousarray(centroids.cpu().numpy()))
    return _core.assign(np.ascontiguousarray(host.numpy()), codebook)


def near_truth(features: torch.Tensor, centroids: torch.Tensor, rows: int = 8192) -> torch.Tensor:
    """int64 [T] by float64 products on the GPU: the truth but for margins under 1e-12 or so."""
    c = centroids.double()
    mean = c.mean(0)
    c = c - mean
    half = 0.5 * c.square().sum(1)
    parts = [(half - (block.double() - mean) @ c.T).argmin(1) for block in features.split(rows)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device="cuda")


def wrong_labels(ids: torch.Tensor, features: torch.Tensor, centroids: torch.Tensor) -> int:
    """Labels that differ from the definition. Rows where float64 disagrees are settled exactly."""
    doubtful = torch.nonzero(ids.long() != near_truth(features, centroids)).flatten()
    if doubtful.numel() == 0:
        return 0
    truth = torch.from_numpy(exact(features[doubtful], centroids)).cuda()
    return int((truth != ids[doubtful]).sum())
