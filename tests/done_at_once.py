"""Stands in for the CUDA runtime where there is none: everything queued is done at once.

It lets `Packer` and `Encoder.stream` run on a CPU: which memory is written when, what is handed on
in which order. Streams, events and graphs themselves are tested on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from spire_dsu.config import ChunkingConfig
from spire_dsu.features import Encoder
from spire_dsu.hubert import kernels_torch, packed, packer
from spire_dsu.hubert.checkpoint import load_checkpoint
from spire_dsu.hubert.packed import PackedForward
from spire_dsu.hubert.packer import Packer
from spire_dsu.hubert.packing import PackShape

CPU = torch.device("cpu")


class _Nothing:
    """An event or a stream: there is nothing to wait for."""

    def __init__(self, *_: Any) -> None:
        pass

    def _done(self, *_: Any) -> None:
        pass

    record = synchronize = wait_event = wait_stream = _done


class _Replayed:
    """A pass that is run again in place of a replay; its output's memory is the same every time."""

    def __init__(self, forward: Callable[..., Any], shape: PackShape, device: torch.device) -> None:
        self._forward, self._shape = forward, shape
        self.input = packed.PackInput.empty(shape, device)
        self._output: tuple[torch.Tensor, ...] | None = None

    def __call__(self) -> tuple[torch.Tensor, ...]:
        made = self._forward(self._shape, self.input)
        if self._output is None:
            self._output = made
        for mine, theirs in zip(self._output, made, strict=True):
            mine.copy_(theirs)
        return self._output


@contextmanager
def packed_encoder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, dtype: torch.dtype = torch.float32,
    frames: int = 128, utterances: int = 6, chunking: ChunkingConfig | None = None,
    eps: float | None = 1e-5,
) -> Iterator[Encoder]:  # fmt: skip
    """An encoder on the CPU whose stream goes through packs of constant size."""
    monkeypatch.setattr(torch.cuda, "Event", _Nothing)
    monkeypatch.setattr(torch.cuda, "Stream", _Nothing)
    monkeypatch.setattr(torch.cuda, "device", lambda *_: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda *_: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: _Nothing())
    monkeypatch.setattr(packer, "Replayed", _Replayed)
    monkeypatch.setattr(packer, "plain_arithmetic", lambda _: packed.plain_arithmetic("cpu"))
    checkpoint = load_checkpoint(folder, 3)
    encoder = Encoder(checkpoint, device="cpu", chunking=chunking, normalize_eps=eps)

    def forward(kind: torch.dtype) -> PackedForward:
        return PackedForward(
            checkpoint.arch, 3, checkpoint.tensors,
            dtype=kind, device=CPU, eps=eps, kernels=kernels_torch,
        )  # fmt: skip

    shape = PackShape(checkpoint.arch, frames, utterances)
    encoder._packer = Packer(forward(dtype), lambda: forward(torch.bfloat16), shape, CPU)
    yield encoder
