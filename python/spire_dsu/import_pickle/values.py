"""What a k-means pickle may name, as inert records: nothing here imports or calls it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from spire_dsu.import_pickle.source import Blob, RefusedError, Text

MAX_ARRAY_BYTES = 65_535 * 8_192 * 8
"""The largest codebook, in float64."""

_MAX_DIMENSIONS = 4
_NUMERIC = re.compile(r"b1|[iu][1248]|f[248]")


class Kind(enum.Enum):
    """What an allowed name is to the reader. None of them is the thing itself."""

    KMEANS = enum.auto()
    JOBLIB_ARRAY = enum.auto()
    ARRAY_TYPE = enum.auto()
    DTYPE = enum.auto()
    EMPTY_ARRAY = enum.auto()
    FROM_BUFFER = enum.auto()
    SCALAR = enum.auto()
    ENCODE = enum.auto()
    BYTES = enum.auto()
    IGNORED = enum.auto()  # generators of random numbers: of no use to a codebook


_ALLOWED: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Kind.KMEANS: (
        ("sklearn.cluster._kmeans", "sklearn.cluster.k_means_", "sklearn.cluster"),
        ("KMeans", "MiniBatchKMeans"),
    ),
    Kind.JOBLIB_ARRAY: (
        ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle"),
        ("NumpyArrayWrapper",),
    ),
    Kind.ARRAY_TYPE: (("numpy",), ("ndarray", "memmap")),
    Kind.DTYPE: (("numpy",), ("dtype",)),
    Kind.EMPTY_ARRAY: (
        ("numpy.core.multiarray", "numpy._core.multiarray"),
        ("_reconstruct",),
    ),
    Kind.FROM_BUFFER: (("numpy.core.numeric", "numpy._core.numeric"), ("_frombuffer",)),
    Kind.SCALAR: (("numpy.core.multiarray", "numpy._core.multiarray"), ("scalar",)),
    Kind.ENCODE: (("_codecs",), ("encode",)),
    Kind.BYTES: (("builtins", "__builtin__"), ("bytes", "bytearray")),
    Kind.IGNORED: (
        (
            "numpy.random",
            "numpy.random._pickle",
            "numpy.random._mt19937",
            "numpy.random.bit_generator",
        ),
        (
            "MT19937",
            "SeedSequence",
            "__RandomState_ctor",
            "__randomstate_ctor",
            "__bit_generator_ctor",
            "__pyx_unpickle_SeedSequence",
        ),
    ),
}
_KIND_OF = {
    (module, name): kind
    for kind, (modules, names) in _ALLOWED.items()
    for module in modules
    for name in names
}


class Symbol(NamedTuple):
    """An allowed name. Only a label: the module is never imported."""

    module: str
    name: str
    kind: Kind


class Array(NamedTuple):
    """An array that is described and not yet read.

    Attributes:
        dtype: byte order and type, as in "<f8".
        shape: checked to agree with the size of the data, where that is known.
        order: "C" or "F".
        data: the raw bytes, or where they are.
    """

    dtype: str
    shape: tuple[int, ...]
    order: str
    data: bytes | Blob


@dataclass(slots=True, eq=False)
class Node:
    """Something that a pickle makes and then fills: a k-means, an array, a dtype.

    Attributes:
        symbol: what it was made from.
        value: its dtype text, its `Array`, or the attributes of a k-means; `None` until filled.
        complete: filled; a second filling is refused.
    """

    symbol: Symbol
    value: Any = None
    complete: bool = False


def describe(value: object) -> str:
    """A value in a message: short, and never a walk through what a file has nested."""
    if type(value) is Symbol:
        return f"{value.module}.{value.name}"
    if type(value) is Node:
        return f"an object of {value.symbol.module}.{value.symbol.name}"
    if type(value) in (str, bytes, int, float, bool, type(None)):
        return repr(value)[:80]
    return f"a {type(value).__name__}"


def find(module: object, name: object) -> Symbol:
    """The symbol of an allowed name.

    Raises:
        RefusedError: it is not allowed; the text has the name.
    """
    if type(module) is not str or type(name) is not str:
        raise RefusedError(f"a name of {describe(module)} and {describe(name)} is not allowed")
    kind = _KIND_OF.get((module, name))
    if kind is None:
        raise RefusedError(f"the name {module[:80]}.{name[:80]} is not allowed in a k-means file")
    return Symbol(module, name, kind)


def call(function: object, arguments: object) -> Any:
    """What a REDUCE stands for, for the few functions that a k-means needs.

    Raises:
        RefusedError: another function, or other arguments.
    """
    if type(function) is not Symbol or type(arguments) is not tuple:
        raise RefusedError(f"a call of {describe(function)} is not allowed")
    handler = _CALLS.get(function.kind)
    if handler is None:
        raise RefusedError(f"a call of {describe(function)} is not allowed")
    try:
        return handler(function, *arguments)
    except TypeError as error:  # another number of arguments
        raise RefusedError(f"wrong arguments for {describe(function)}: {len(arguments)}") from error


def create(cls: object, arguments: object) -> Node:
    """What a NEWOBJ stands for: an empty k-means or an empty array of joblib."""
    if type(cls) is not Symbol or cls.kind not in (Kind.KMEANS, Kind.JOBLIB_ARRAY):
        raise RefusedError(f"an object of {describe(cls)} is not allowed")
    if arguments != ():
        raise RefusedError(f"{describe(cls)} is created with arguments")
    return Node(cls)


def fill(node: object, state: object) -> None:
    """What a BUILD stands for; the array of a joblib wrapper is read by the caller.

    Raises:
        RefusedError: an object that takes no state, a second state, or a state of another form.
    """
    if type(node) is not Node:
        raise RefusedError(f"BUILD on {describe(node)} is not allowed")
    if node.symbol.kind is Kind.IGNORED:
        return
    if node.complete:
        raise RefusedError(f"a second state for {describe(node)}")
    node.complete = True
    if node.symbol.kind in (Kind.KMEANS, Kind.JOBLIB_ARRAY):
        if type(state) is not dict:
            raise RefusedError(
                f"the state of {describe(node)} is {describe(state)}, not a dictionary"
            )
        node.value = state
    elif node.symbol.kind is Kind.DTYPE:
        node.value = _byte_order(node.value, state)
    elif type(state) is tuple and len(state) == 5:
        _, shape, dtype, fortran, data = state
        if type(fortran) is not bool:
            raise RefusedError(f"the order of an array is {describe(fortran)}")
        node.value = make_array(dtype, shape, "F" if fortran else "C", data)
    else:
        raise RefusedError(f"the state of {describe(node)} is {describe(state)}, not five values")


def make_array(dtype: object, shape: object, order: object, data: bytes | Blob | None) -> Array:
    """An array of numbers whose bytes are exactly as many as its shape says.

    Args:
        dtype: the `Node` of a dtype.
        shape: a tuple of sizes.
        order: "C" or "F".
        data: its bytes; `None` when they follow in the file, to be set by the caller.
    """
    if type(dtype) is not Node or dtype.symbol.kind is not Kind.DTYPE or not dtype.complete:
        raise RefusedError(f"the dtype of an array is {describe(dtype)}")
    if order not in ("C", "F"):
        raise RefusedError(f"the order of an array is {describe(order)}")
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        raise RefusedError(f"the shape of an array is {describe(shape)}")
    for length in shape:
        if type(length) is not int or length < 0:
            raise RefusedError(f"the shape of an array has the length {describe(length)}")
    size = int(dtype.value[-1])
    for length in shape:  # checked at each step: the product of hostile lengths never exists
        size *= min(length, MAX_ARRAY_BYTES + 1)
        if size > MAX_ARRAY_BYTES:
            raise RefusedError(f"an array of over {MAX_ARRAY_BYTES} bytes, shape {shape!r:.80}")
    if data is None:
        return Array(dtype.value, shape, str(order), Blob(0, size))
    if type(data) is not bytes and type(data) is not Blob:
        raise RefusedError(f"the data of an array are {describe(data)}, not bytes")
    known = None if isinstance(data, Blob) and data.latin1 else _length(data)
    if known is not None and known != size:
        raise RefusedError(f"an array of shape {shape!r:.80} needs {size} bytes and has {known}")
    return Array(dtype.value, shape, str(order), data)


def _length(data: bytes | Blob) -> int:
    return data.size if isinstance(data, Blob) else len(data)


def _dtype(symbol: Symbol, code: object, *_flags: object) -> Node:
    if type(code) is not str or not _NUMERIC.fullmatch(code):
        raise RefusedError(f"the dtype {describe(code)} is not one of plain numbers")
    return Node(symbol, code)


def _byte_order(code: str, state: object) -> str:
    """ "f8" and its state (version, order, subtype, names, fields, size, alignment, flags)."""
    if type(state) is not tuple or len(state) != 8 or any(x is not None for x in state[2:5]):
        raise RefusedError(
            f"the state of dtype {code!r} is {describe(state)}, not that of a plain number"
        )
    if state[1] not in ("<", ">", "|"):
        raise RefusedError(f"the byte order of dtype {code!r} is {describe(state[1])}")
    return f"{state[1]}{code}"


def _empty_array(symbol: Symbol, subtype: object, shape: object, code: object) -> Node:
    if type(subtype) is not Symbol or subtype.kind is not Kind.ARRAY_TYPE:
        raise RefusedError(f"an array of type {describe(subtype)} is not allowed")
    if shape != (0,) or code not in (b"b", "b"):
        raise RefusedError(f"an array begins as {describe(shape)}, {describe(code)}")
    return Node(symbol)


def _from_buffer(symbol: Symbol, data: object, dtype: object, shape: object, order: object) -> Node:
    if type(data) is not bytes and type(data) is not Blob:
        raise RefusedError(f"the data of an array are {describe(data)}, not bytes")
    return Node(symbol, make_array(dtype, shape, order, data), complete=True)


def _scalar(symbol: Symbol, dtype: object, data: object) -> Node:
    make_array(dtype, (), "C", data if isinstance(data, (bytes, Blob)) else b"")
    return Node(symbol, complete=True)


def _encode(_symbol: Symbol, text: object, encoding: object) -> bytes | Blob:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"bytes are written in the encoding {describe(encoding)}")
    if type(text) is Text:
        return Blob(text.offset, text.size, latin1=True)
    if type(text) is not str:
        raise RefusedError(f"bytes are written as {describe(text)}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise RefusedError(f"bytes written as text are no Latin-1: {error}") from None


def _bytes(_symbol: Symbol, data: object = b"") -> bytes | Blob:
    if type(data) is not bytes and type(data) is not Blob:
        raise RefusedError(f"bytes are made from {describe(data)}")
    return data


def _ignored(symbol: Symbol, *_arguments: object) -> Node:
    return Node(symbol)


_CALLS: dict[Kind, Any] = {
    Kind.DTYPE: _dtype,
    Kind.EMPTY_ARRAY: _empty_array,
    Kind.FROM_BUFFER: _from_buffer,
    Kind.SCALAR: _scalar,
    Kind.ENCODE: _encode,
    Kind.BYTES: _bytes,
    Kind.IGNORED: _ignored,
}
