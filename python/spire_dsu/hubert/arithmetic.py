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
_sums_before: list[tuple[bool, bool]] = []

_SUMS = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")


@contextmanager
def plain_arithmetic(device_type: str) -> Iterator[None]:
    """No gradients, no autocast, and no less precise sums or factors inside of products.

    Those are no TF32 or bfloat16 inside of float32 products, and no float16 or bfloat16 sums (nor
    sums in parts, whose number depends on the shape) inside of half-precision ones on a GPU. They
    are settings of the whole process (`torch.set_float32_matmul_precision` and others), put back
    when the last of the threads that are inside leaves.
    """
    global _inside, _before, _sums_before
    with _lock:
        if _inside == 0:
            _before = [each.fp32_precision for each in _families()]
            _set(["ieee"] * len(_before))
            _sums_before = _sums()
            _set_sums([(False, False)] * len(_SUMS))
        _inside += 1
    try:
        with torch.no_grad(), torch.autocast(device_type, enabled=False):
            yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(_before)
                _set_sums(_sums_before)


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


def _sums() -> list[tuple[bool, bool]]:
    """Whether sums of half-precision products may be in half precision, and in parts."""
    matmul: Any = torch.backends.cuda.matmul
    return [(getattr(matmul, name), getattr(matmul, f"{name}_split_k", True)) for name in _SUMS]


def _set_sums(values: list[tuple[bool, bool]]) -> None:
    matmul: Any = torch.backends.cuda.matmul
    for name, value in zip(_SUMS, values, strict=True):
        try:
            setattr(matmul, name, value)
        except (TypeError, RuntimeError):  # a PyTorch with only the first of the two settings
            setattr(matmul, name, value[0])
