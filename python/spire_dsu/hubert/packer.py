"""Waves to features on a GPU: packs of constant size, a replay each, the next one filled meanwhile.

    pinned memory -> device (a stream of its own) -> one CUDA graph -> features, and what overflowed

A caller queues a pack before it asks for the one before, so the GPU has work while the host waits
for that one's flags. Samples travel as float32: at 15,000 times real time they are 1 GB/s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spire_dsu.hubert.arithmetic import plain_arithmetic
from spire_dsu.hubert.packed import PackedForward, PackInput, Replayed
from spire_dsu.hubert.packing import Layout, PackShape, fill, place


@dataclass(frozen=True, slots=True)
class PackPiece:
    """An utterance, or a window of one, of at least one frame.

    Attributes:
        samples: float32 [S], not normalised, on the host or on the device.
        moments: mean and factor of the whole utterance; None where `samples` is the whole and the
            pass measures it.
        first, last: the frames to keep.
    """

    samples: Tensor
    moments: tuple[float, float] | None
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Flight:
    """A pack under way.

    Attributes:
        features: float32 [T, D], the frames to keep of all pieces.
        finite: bool [frames], on the host once `done` has passed.
    """

    pieces: tuple[PackPiece, ...]
    layout: Layout
    features: Tensor
    finite: Tensor
    done: torch.cuda.Event


class _Staging:
    """Pinned memory for one pack, its place on the device, and when each may be written again."""

    def __init__(self, shape: PackShape, device: torch.device) -> None:
        self.host = PackInput.empty(shape, torch.device("cpu"), pinned=True)
        self.device = PackInput.empty(shape, device)
        self.uploaded, self.taken = _event(), _event()


class Packer:
    """The packed pass of one model on one GPU. Threads may share it.

    Attributes:
        overflows: pieces so far whose float16 pass was not finite and that went through bfloat16.
    """

    def __init__(
        self,
        forward: PackedForward,
        wide_range: Callable[[], PackedForward],
        shape: PackShape,
        device: torch.device,
    ) -> None:
        """Args: wide_range: makes the same model in bfloat16, when first needed."""
        self._forward, self._make_wide = forward, wide_range
        self._wide: PackedForward | None = None
        self._shape, self._device = shape, device
        self._replayed = Replayed(forward, shape, device)
        self._ring = [_Staging(shape, device) for _ in range(2)]
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._free = _event()  # the graph's memory may be written again
        self._lock = threading.Lock()
        self.overflows = 0

    @property
    def shape(self) -> PackShape:
        """What one pack has room for."""
        return self._shape

    def queue(self, pieces: Sequence[PackPiece]) -> Flight:
        """Queues a pack on the current stream.

        Args:
            pieces: at least one; more than `shape` has room for only where it is a single one,
                which then has a pass of its own size.
        """
        lengths = [len(piece.samples) for piece in pieces]
        with torch.cuda.device(self._device), plain_arithmetic("cuda"), self._lock:
            if self._shape.slots(sum(lengths[:1])) > self._shape.frames:
                return self._eager(self._forward, _shape_for(self._shape, lengths[0]), pieces)
            current = torch.cuda.current_stream()
            staging = self._ring[0]
            self._ring.reverse()
            staging.uploaded.synchronize()
            layout = write(staging.host, self._shape, pieces)
            with torch.cuda.stream(self._copies):
                self._copies.wait_event(staging.taken)
                staging.device.copy_from(staging.host)
                staging.uploaded.record()
            current.wait_event(self._free)
            current.wait_event(staging.uploaded)
            self._replayed.input.copy_from(staging.device)
            staging.taken.record()
            write_from_device(self._replayed.input, self._shape, layout, pieces)
            flight = _flight(pieces, layout, *self._replayed())
            self._free.record()
            return flight

    def result(self, flight: Flight) -> Tensor:
        """The features of a pack: float32 [T, D]. Waits for the pack.

        What overflowed is computed again in bfloat16, whose range is float32's. Whether an
        utterance does depends on its samples alone.
        """
        flight.done.synchronize()
        finite, splits = flight.finite.numpy(), flight.layout.row_splits
        end = 0
        for i, piece in enumerate(flight.pieces):
            start, end = end, end + piece.last - piece.first
            if not finite[splits[i] : splits[i + 1]].all():
                flight.features[start:end] = self._again(piece)
        return flight.features

    def _again(self, piece: PackPiece) -> Tensor:
        with torch.cuda.device(self._device), plain_arithmetic("cuda"), self._lock:
            self.overflows += 1
            if self._wide is None:
                self._wide = self._make_wide()
            shape = _shape_for(self._shape, len(piece.samples))
            return self._eager(self._wide, shape, [piece]).features

    def _eager(
        self, forward: PackedForward, shape: PackShape, pieces: Sequence[PackPiece]
    ) -> Flight:
        host = PackInput.empty(shape, torch.device("cpu"), pinned=True)
        layout = write(host, shape, pieces)
        pack = PackInput.empty(shape, self._device)
        pack.copy_from(host)
        write_from_device(pack, shape, layout, pieces)
        flight = _flight(pieces, layout, *forward(shape, pack))
        flight.done.synchronize()  # the pinned memory goes with this call
        return flight


def _shape_for(shape: PackShape, num_samples: int) -> PackShape:
    """The usual shape, or a multiple of it that holds one long piece."""
    times = max(1, -(-shape.slots(num_samples) // shape.frames))
    return PackShape(shape.arch, times * shape.frames, shape.utterances)


def write(pack: PackInput, shape: PackShape, pieces: Sequence[PackPiece]) -> Layout:
    """Writes pieces into the memory of a pack on the host, but for samples on a device.

    Returns:
        Where they lie.
    """
    lengths = [len(piece.samples) for piece in pieces]
    layout = place(shape, lengths)
    measured = [piece.moments is None for piece in pieces]
    fill(pack.numbers.numpy(), shape, layout, lengths, measured)
    stream, hop = pack.stream.numpy(), shape.arch.hop
    for start, piece in zip(layout.starts, pieces, strict=True):
        if piece.samples.device.type == "cpu":
            stream[start * hop : start * hop + len(piece.samples)] = piece.samples.numpy()
    given = pack.given.numpy()
    given[:] = 0.0
    given[: len(pieces)] = np.array([piece.moments or (0.0, 0.0) for piece in pieces], np.float32)
    return layout


def write_from_device(
    pack: PackInput, shape: PackShape, layout: Layout, pieces: Sequence[PackPiece]
) -> None:
    """Queues the copies of samples that lie on a device already."""
    hop = shape.arch.hop
    for start, piece in zip(layout.starts, pieces, strict=True):
        if piece.samples.device.type != "cpu":
            pack.stream[start * hop : start * hop + len(piece.samples)] = piece.samples


def _flight(pieces: Sequence[PackPiece], layout: Layout, rows: Tensor, finite: Tensor) -> Flight:
    """Copies what is to stay of the pass's output, which the next pass overwrites."""
    kept = [
        rows[start + piece.first : start + piece.last]
        for start, piece in zip(layout.row_splits, pieces, strict=False)
    ]
    flags = torch.empty(finite.shape, dtype=torch.bool, pin_memory=torch.cuda.is_available())
    flags.copy_(finite, non_blocking=True)
    features = torch.cat(kept) if len(kept) > 1 else kept[0].clone()
    done = _event()
    done.record()
    return Flight(tuple(pieces), layout, features, flags, done)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]
