"""Computing as the weights say, whatever the caller has set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_lock = threading.Lock()
_inside = 0
_before: list[str] = []


@contextmanager
def plain_arithmetic(device_type: str) -> Iterator[None]:
    """No gradients, no autocast, and no TF32 or bfloat16 inside of float32 products.

    The last is a setting of the whole process (`torch.set_float32_matmul_precision` and others): it
    is put back when the last of the threads that are inside leaves.
    """
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = [each.fp32_precision for each in _families()]
            _set(["ieee"] * len(_before))
        _inside += 1
    try:
        with torch.no_grad(), torch.autocast(device_type, enabled=False):
            yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(_before)


def _families() -> list[Any]:
    backends: Any = torch.backends
    return [
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.cuda.matmul,
        backends.cudnn.conv,
    ]


def _set(values: list[str]) -> None:
    for family, value in zip(_families(), values, strict=True):
        family.fp32_precision = value
