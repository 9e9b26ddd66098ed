"""assign on a GPU against the CPU: shapes, kinds of data, dtypes, every kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from on_gpu import exact, needs_gpu, normal, screens, wrong_labels
from regimes import REGIMES
from shapes import grid

pytestmark = needs_gpu

DTYPES = [torch.float16, torch.bfloat16, torch.float32]


def labels(
    features: torch.Tensor, centroids: torch.Tensor, screen: str, exact: bool = True
) -> torch.Tensor:
    """By `_cuda` itself, into poisoned memory."""
    from spire_dsu import _cuda

    stream = torch.cuda.current_stream().cuda_stream
    codebook = _cuda.Codebook(centroids.contiguous(), stream=stream)
    ids = torch.full((len(features) + 3,), -7, dtype=torch.int32, device="cuda")
    faults = torch.full((3,), -1, dtype=torch.int64, device="cuda")
    _cuda.assign(features, codebook, ids, faults, stream=stream, exact=exact, screen=screen)
    _cuda.raise_faults(*faults.tolist())
    assert (ids[len(features) :] == -7).all(), "written past the end"
    return ids[: len(features)]


def check(features: torch.Tensor, centroids: torch.Tensor) -> None:
    for screen in screens():
        ids = labels(features, centroids, screen)
        assert wrong_labels(ids, features, centroids) == 0, (
            screen,
            features.shape,
            centroids.shape,
        )


def test_the_shape_grid() -> None:
    for i, (n, k, d) in enumerate(grid(budget=3e10, share=0.2)):
        x = normal(n, d, salt=i, dtype=DTYPES[i % 3])
        check(x + 0.5, normal(k, d, salt=i + 1) + 0.5)


@pytest.mark.parametrize("k", [500, 2_000, 5_000])
@pytest.mark.parametrize("d", [768, 1_024])
def test_a_million_frames(k: int, d: int) -> None:
    centroids = normal(k, d)
    members = torch.randint(0, k, (2**20,), device="cuda")
    features = (centroids[members] + 2 * normal(2**20, d, salt=1)).half()
    check(features, centroids)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_hard_data(regime: str, dtype: torch.dtype) -> None:
    x, c = (torch.from_numpy(part).cuda() for part in REGIMES[regime](700, 450, 96))
    features = x.to(dtype)
    features = features[features.isfinite().all(1)]  # float16 ends at 65504
    truth = exact(features, c)
    for screen in screens():
        np.testing.assert_array_equal(labels(features, c, screen).cpu().numpy(), truth)


def test_equal_centroids_give_the_lowest_index() -> None:
    c = normal(600, 64)
    c = torch.cat([c, c, c])
    for screen in screens():
        ids = labels(c, c, screen)
        assert torch.equal(ids, torch.arange(600, device="cuda", dtype=torch.int32).repeat(3))


def test_labels_depend_on_nothing_but_the_numbers() -> None:
    x, c = normal(3000, 256, salt=2).half(), normal(700, 256, salt=3)
    for screen in screens():
        whole = labels(x, c, screen)
        order = torch.randperm(3000, device="cuda")
        assert torch.equal(labels(x[order], c, screen), whole[order])
        for cut in (1, 127, 128, 1700):
            parts = [labels(part, c, screen) for part in (x[:cut], x[cut:])]
            assert torch.equal(torch.cat(parts), whole)
        turn = torch.randperm(700, device="cuda")
        assert torch.equal(turn[labels(x, c[turn], screen).long()].int(), whole)
        assert torch.equal(labels(x, c, screen), whole)


def test_fast_is_nearly_exact() -> None:
    x, c = normal(20_000, 512, salt=4), normal(1_000, 512, salt=5)
    for screen in screens():
        same = labels(x, c, screen, exact=False) == labels(x, c, screen)
        assert same.float().mean() > 0.98
