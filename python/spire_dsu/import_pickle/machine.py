"""An interpreter of pickle's opcodes for k-means files, in which nothing can be called.

The standard unpickler imports what a file names and calls what it says; one allowed name too many
and it runs code. This one knows the opcodes that scikit-learn, numpy and joblib write (protocols 2
to 5), turns names into labels and calls into the few records of `values.py`, and refuses the rest.

Format: the comments of CPython's pickletools; joblib's raw arrays: joblib.numpy_pickle.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from spire_dsu.import_pickle.source import Blob, RefusedError, Source, Text
from spire_dsu.import_pickle.values import (
    Array,
    Kind,
    Node,
    Symbol,
    call,
    create,
    describe,
    fill,
    find,
    make_array,
)

MAX_OPCODES = 50_000
"""A k-means needs a few hundred, a random state included."""

_LONG_VALUE = 4096  # what is longer stays in the file
_LONGEST_NAME = 256
_JOBLIB_FIELDS = {
    "subclass",
    "shape",
    "order",
    "dtype",
    "allow_mmap",
    "numpy_array_alignment_bytes",
}
_NAMES_OF_REFUSED = {
    "0": "POP", "1": "POP_MARK", "2": "DUP", "F": "FLOAT", "I": "INT", "L": "LONG",
    "P": "PERSID", "Q": "BINPERSID", "S": "STRING", "T": "BINSTRING", "U": "SHORT_BINSTRING",
    "V": "UNICODE", "d": "DICT", "g": "GET", "i": "INST", "l": "LIST", "o": "OBJ", "p": "PUT",
    "\x82": "EXT1", "\x83": "EXT2", "\x84": "EXT4", "\x8b": "LONG4", "\x8f": "EMPTY_SET",
    "\x90": "ADDITEMS", "\x91": "FROZENSET", "\x92": "NEWOBJ_EX", "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
}  # fmt: skip


class Machine:
    """Reads one pickle.

    Args:
        source: the file, at its beginning.
        max_opcodes: how many it may have.
    """

    def __init__(self, source: Source, max_opcodes: int = MAX_OPCODES) -> None:
        self.source = source
        self.max_opcodes = max_opcodes
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self._table = self._operations()

    def run(self) -> Any:
        """The object that the file holds, made of plain values and the records of `values.py`.

        Raises:
            RefusedError: anything that no k-means file has; the text says what and where.
        """
        if self.source.size < 2 or self.source.take(1) != b"\x80":
            raise RefusedError("not a pickle of protocol 2 or later: it does not begin with PROTO")
        protocol = self._number(1)
        if not 2 <= protocol <= 5:
            raise RefusedError(f"pickle protocol {protocol} is not among 2 to 5")
        for _ in range(self.max_opcodes):
            at = self.source.position
            opcode = self.source.take(1)
            if opcode == b".":
                return self._finish()
            operation = self._table.get(opcode)
            if operation is None:
                name = _NAMES_OF_REFUSED.get(opcode.decode("latin-1"), "unknown")
                raise RefusedError(f"opcode 0x{opcode.hex()} ({name}) at {at} is not allowed")
            operation()
        raise RefusedError(f"over {self.max_opcodes} opcodes")

    def _finish(self) -> Any:
        value = self._pop()
        if self.stack or self.marks:
            raise RefusedError("the pickle ends with values left over")
        left = self.source.size - self.source.position
        if left:
            raise RefusedError(f"{left} bytes follow the end of the pickle")
        return value

    def _operations(self) -> dict[bytes, Callable[[], None]]:
        push, number = self._push, self._number
        memo, sized = self.memo, self._sized
        return {
            b"\x95": lambda: self.source.require(number(8)),  # FRAME: only a hint for reading ahead
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"J": lambda: push(number(4, signed=True)),
            b"K": lambda: push(number(1)),
            b"M": lambda: push(number(2)),
            b"\x8a": lambda: push(number(number(1), signed=True)),
            b"G": lambda: push(struct.unpack(">d", self.source.take(8))[0]),
            b"\x8c": lambda: push(self._text(number(1))),
            b"X": lambda: push(self._text(number(4))),
            b"\x8d": lambda: push(self._text(number(8))),
            b"C": lambda: push(sized(number(1))),
            b"B": lambda: push(sized(number(4))),
            b"\x8e": lambda: push(sized(number(8))),
            b"\x96": lambda: push(sized(number(8))),  # BYTEARRAY8: nothing here changes in place
            b"]": lambda: push([]),
            b"}": lambda: push({}),
            b")": lambda: push(()),
            b"(": self._mark,
            b"t": lambda: push(tuple(self._since_mark())),
            b"\x85": lambda: push(tuple(self._pop_many(1))),
            b"\x86": lambda: push(tuple(self._pop_many(2))),
            b"\x87": lambda: push(tuple(self._pop_many(3))),
            b"a": lambda: self._append(self._pop_many(1)),
            b"e": lambda: self._append(self._since_mark()),
            b"s": lambda: self._set_items(self._pop_many(2)),
            b"u": lambda: self._set_items(self._since_mark()),
            b"h": lambda: push(self._remembered(number(1))),
            b"j": lambda: push(self._remembered(number(4))),
            b"q": lambda: memo.__setitem__(number(1), self._top()),
            b"r": lambda: memo.__setitem__(number(4), self._top()),
            b"\x94": lambda: memo.__setitem__(len(memo), self._top()),
            b"c": lambda: push(find(self._line(), self._line())),
            b"\x93": lambda: push(find(*self._pop_many(2))),
            b"R": lambda: push(call(*self._pop_many(2))),
            b"\x81": lambda: push(create(*self._pop_many(2))),
            b"b": self._build,
        }

    # -- values

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.source.take(size), "little", signed=signed)

    def _line(self) -> str:
        return self.source.line(_LONGEST_NAME)

    def _sized(self, size: int) -> bytes | Blob:
        if size <= _LONG_VALUE:
            return self.source.take(size)
        return Blob(self.source.skip(size), size)

    def _text(self, size: int) -> str | Text:
        if size > _LONG_VALUE:
            return Text(self.source.skip(size), size)
        data = self.source.take(size)
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise RefusedError(f"a text is not UTF-8: {error}") from None

    # -- the stack: a MARK sets it aside and begins an empty one

    def _pop(self) -> Any:
        if not self.stack:
            raise RefusedError(f"the stack is empty at {self.source.position}")
        return self.stack.pop()

    def _pop_many(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise RefusedError(f"the stack has under {count} values at {self.source.position}")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _top(self) -> Any:
        if not self.stack:
            raise RefusedError(f"the stack is empty at {self.source.position}")
        return self.stack[-1]

    def _mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        if not self.marks:
            raise RefusedError(f"no MARK before {self.source.position}")
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def _remembered(self, index: int) -> Any:
        if index not in self.memo:
            raise RefusedError(f"nothing is remembered as {index}")
        return self.memo[index]

    # -- containers: only lists and dictionaries grow, and only under text

    def _append(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise RefusedError(f"APPEND to {describe(target)}")
        target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not dict:
            raise RefusedError(f"SETITEM on {describe(target)}")
        if len(values) % 2:
            raise RefusedError("SETITEMS with a key that has no value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) is not str:  # hashing a nested tuple can take forever
                raise RefusedError(f"a key is {describe(key)}, not text")
            target[key] = value

    def _build(self) -> None:
        state = self._pop()
        node = self._top()
        fill(node, state)
        if node.symbol.kind is Kind.JOBLIB_ARRAY:
            node.value = self._raw_array(node)

    def _raw_array(self, node: Node) -> Array:
        """joblib writes the bytes of an array right behind the BUILD of its wrapper."""
        state = node.value
        unknown = state.keys() - _JOBLIB_FIELDS
        if unknown or not {"subclass", "shape", "order", "dtype"} <= state.keys():
            fields = ", ".join(sorted(state)[:8])
            raise RefusedError(f"a joblib array has the fields {fields[:200]}")
        subclass = state["subclass"]
        if type(subclass) is not Symbol or subclass.kind is not Kind.ARRAY_TYPE:
            raise RefusedError("a joblib array of a type that is not numpy.ndarray")
        array = make_array(state["dtype"], state["shape"], state["order"], None)
        if state.get("numpy_array_alignment_bytes") is not None:  # joblib >= 1.2
            self.source.skip(self._number(1))
        assert isinstance(array.data, Blob)
        size = array.data.size
        return array._replace(data=Blob(self.source.skip(size), size))
