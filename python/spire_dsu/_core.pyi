"""
Frames in, units out: the CPU kernels. Use spire_dsu.units, which checks and converts.
"""
from __future__ import annotations
import numpy
import numpy.typing
import typing
__all__: list[str] = ['Codebook', 'accumulate', 'assign', 'assign_with_stats', 'available_isas', 'default_threads', 'distances', 'quantize', 'run_length']
class Codebook:
    """
    Centroids made ready for assign and quantize.
    """
    def __init__(self, centroids: numpy.typing.NDArray[numpy.float32], *, copy: bool = True, threads: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        ...
    @property
    def shape(self) -> tuple[int, int]:
        """
        (K, D)
        """
def accumulate(features: numpy.ndarray, before: numpy.typing.NDArray[numpy.int32], after: numpy.typing.NDArray[numpy.int32], sums: numpy.typing.NDArray[numpy.float64], counts: numpy.typing.NDArray[numpy.int64], *, threads: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
    """
    Move rows between clusters: sums [K, D] and counts [K] are changed in place.
    """
def assign(features: numpy.ndarray, codebook: Codebook, *, threads: typing.SupportsInt | typing.SupportsIndex = 0, isa: str | None = None) -> numpy.typing.NDArray[numpy.int32]:
    """
    Nearest centroid of every frame: int32 [T].
    """
def assign_with_stats(features: numpy.ndarray, codebook: Codebook, *, threads: typing.SupportsInt | typing.SupportsIndex = 0, isa: str | None = None) -> tuple[numpy.typing.NDArray[numpy.int32], dict[str, int]]:
    """
    assign, and what its screens did.
    """
def available_isas() -> list[str]:
    """
    Instruction sets that assign can use here, the widest last.
    """
def default_threads() -> int:
    """
    Threads used when none are asked for.
    """
def distances(features: numpy.ndarray, labels: numpy.typing.NDArray[numpy.int32], centroids: numpy.typing.NDArray[numpy.float32], *, threads: typing.SupportsInt | typing.SupportsIndex = 0) -> numpy.typing.NDArray[numpy.float64]:
    """
    Squared distance of every frame to the centroid of its label: float64 [T].
    """
def quantize(features: numpy.ndarray, row_splits: numpy.typing.NDArray[numpy.int64], codebook: Codebook, *, threads: typing.SupportsInt | typing.SupportsIndex = 0, isa: str | None = None) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int64]]:
    """
    assign and run_length as one: (units, durations, row_splits).
    """
def run_length(ids: numpy.typing.NDArray[numpy.int32], row_splits: numpy.typing.NDArray[numpy.int64]) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int64]]:
    """
    Merge runs within rows: (units, durations, row_splits).
    """
