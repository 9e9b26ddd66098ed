"""The reading process: a k-means file on standard input, its centroids on standard output.

Output: raw bytes, then a report in JSON, then the length of the report in 8 bytes. The report is
{"error": ...} or describes the bytes. It stands behind them because an error may come late.
"""

from __future__ import annotations

import json
import os
from typing import BinaryIO, NamedTuple

from spire_dsu.import_pickle.containers import find_unpacker, unpack
from spire_dsu.import_pickle.machine import Machine
from spire_dsu.import_pickle.sandbox import lock_down
from spire_dsu.import_pickle.source import RefusedError, Source
from spire_dsu.import_pickle.values import Array, Kind, Node, describe

_LONGEST_REASON = 1000
_ARRAYS = (Kind.JOBLIB_ARRAY, Kind.EMPTY_ARRAY, Kind.FROM_BUFFER)
_ATTRIBUTE = "cluster_centers_"


class Centroids(NamedTuple):
    """The centroids of a k-means file, not yet read, and what made them."""

    array: Array
    made_by: str
    version: str


def main(arguments: list[str]) -> None:
    """Reads standard input and answers on standard output.

    Args:
        arguments: the limits of `lock_down` as JSON; the number of an open, empty file, which takes
            what is unpacked.
    """
    limits = json.loads(arguments[0])
    packed, out = os.fdopen(0, "rb"), os.fdopen(1, "wb")
    scratch = os.fdopen(int(arguments[1]), "w+b")
    size = os.fstat(0).st_size
    filtered = lock_down(**limits)
    report: dict[str, object] = {"filtered": filtered}
    try:
        source = open_source(packed, size, scratch)
        centroids = find_centroids(Machine(source).run())
        write_array(centroids.array, source, out)
        report |= {
            "dtype": centroids.array.dtype,
            "shape": centroids.array.shape,
            "order": centroids.array.order,
            "made_by": centroids.made_by,
            "version": centroids.version,
        }
    except RefusedError as error:
        report["error"] = str(error)[:_LONGEST_REASON]
    except MemoryError:
        report["error"] = f"needs over {limits['memory_bytes'] >> 20} MiB of memory"
    line = json.dumps(report).encode()
    out.write(line + len(line).to_bytes(8, "little"))
    out.flush()


def open_source(packed: BinaryIO, size: int, scratch: BinaryIO) -> Source:
    """The pickle itself, unpacked into `scratch` where it is compressed.

    Args:
        packed: the file, with its length in bytes.
        size: its length.
        scratch: an open, empty file.

    Raises:
        RefusedError: the compressed data are damaged, too large, or compressed twice.
    """
    packed.seek(0)
    head = packed.read(8)
    packed.seek(0)
    found = find_unpacker(head)
    if found is None:
        return Source(packed, size)
    name, unpacker = found
    size = unpack(name, unpacker, packed, size, scratch)
    scratch.seek(0)
    if find_unpacker(scratch.read(8)):
        raise RefusedError(f"compressed again inside {name}")
    return Source(scratch, size)


def find_centroids(value: object) -> Centroids:
    """The centroids in what a pickle held: a k-means, or an array alone.

    Raises:
        RefusedError: neither, or a k-means that was never fitted.
    """
    made_by, version = "numpy.ndarray", ""
    if type(value) is Node and value.symbol.kind is Kind.KMEANS and value.complete:
        made_by = f"{value.symbol.module}.{value.symbol.name}"
        recorded = value.value.get("_sklearn_version")
        version = recorded[:40] if type(recorded) is str else ""
        if _ATTRIBUTE not in value.value:
            raise RefusedError(f"the {value.symbol.name} has no {_ATTRIBUTE}: it was never fitted")
        value = value.value[_ATTRIBUTE]
    if type(value) is not Node or value.symbol.kind not in _ARRAYS or not value.complete:
        raise RefusedError(f"holds {describe(value)} where centroids should be")
    array: Array = value.value
    if len(array.shape) != 2 or array.dtype[1] != "f":
        raise RefusedError(f"centroids of shape {array.shape} and type {array.dtype}")
    return Centroids(array, made_by, version)


def write_array(array: Array, source: Source, out: BinaryIO) -> None:
    """Copies the bytes of an array from its file.

    Raises:
        RefusedError: bytes that were written as text are none.
    """
    if isinstance(array.data, bytes):
        out.write(array.data)
        return
    for piece in source.pieces(array.data):
        out.write(piece)
