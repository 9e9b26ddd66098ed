"""
Frames in, units out: the CUDA kernels. Use spire_dsu.units, which checks and converts.
"""
from __future__ import annotations
import numpy
import numpy.typing
import typing
__all__: list[str] = ['Codebook', 'StreamingQuantizer', 'assign', 'device_of', 'quantize', 'raise_faults', 'run_length']
class Codebook:
    """
    Centroids made ready on one device; waits for the stream once.
    """
    def __init__(self, centroids: typing.Any, *, stream: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def device(self) -> int:
        ...
    @property
    def shape(self) -> tuple[int, int]:
        """
        (K, D)
        """
class StreamingQuantizer:
    """
    quantize block by block; results come to the host behind the next one.
    """
    def __init__(self, codebook: Codebook) -> None:
        ...
    def push(self, features: typing.Any, row_splits: numpy.typing.NDArray[numpy.int64], *, stream: typing.SupportsInt | typing.SupportsIndex, exact: bool = True) -> None:
        ...
    def wait(self, age: typing.SupportsInt | typing.SupportsIndex) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int64]]:
        """
        (units, durations, row_splits) of the block pushed last but `age`, 0 or 1.
        """
def assign(features: typing.Any, codebook: Codebook, ids: typing.Any, faults: typing.Any, *, stream: typing.SupportsInt | typing.SupportsIndex, exact: bool = True, screen: str = 'automatic', counts: typing.Any = None) -> None:
    """
    Nearest centroid of every frame, into ids int32 [T].
    """
def device_of(array: typing.Any) -> int:
    """
    The number of the GPU that holds an array.
    """
def quantize(features: typing.Any, row_splits: typing.Any, codebook: Codebook, units: typing.Any, durations: typing.Any, unit_splits: typing.Any, faults: typing.Any, *, stream: typing.SupportsInt | typing.SupportsIndex, exact: bool = True, screen: str = 'automatic') -> None:
    """
    assign and run_length as one.
    """
def raise_faults(feature_row: typing.SupportsInt | typing.SupportsIndex, split_entry: typing.SupportsInt | typing.SupportsIndex, run_row: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Raise what the three numbers of a faults array stand for.
    """
def run_length(ids: typing.Any, row_splits: typing.Any, units: typing.Any, durations: typing.Any, unit_splits: typing.Any, faults: typing.Any, *, stream: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Merge runs within rows, into units and durations int32 [T] and unit_splits int64 [N + 1].
    """
