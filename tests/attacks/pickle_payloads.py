"""Hostile k-means files, put together by hand: what each does, and the words of its refusal."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

# -- a small assembler: the opcodes of pickle, by hand

END, MARK, REDUCE, BUILD, NEWOBJ = b".", b"(", b"R", b"b", b"\x81"
DICT, TUPLE, LIST, SETITEM, SETITEMS, NONE = b"}", b")", b"]", b"s", b"u", b"N"
PROTO = b"\x80\x04"


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def text(value: str) -> bytes:
    return b"X" + u32(len(value.encode())) + value.encode()


def data(value: bytes) -> bytes:
    return b"B" + u32(len(value)) + value


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tup(*items: bytes) -> bytes:
    return MARK + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tup(*arguments) + REDUCE


def dictionary(**items: bytes) -> bytes:
    return DICT + MARK + b"".join(text(k) + v for k, v in items.items()) + SETITEMS


KMEANS = name("sklearn.cluster._kmeans", "KMeans")
WRAPPER = name("joblib.numpy_pickle", "NumpyArrayWrapper")
NDARRAY = name("numpy", "ndarray")
RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
EMPTY = call(RECONSTRUCT, NDARRAY, tup(number(0)), data(b"b"))


def dtype(code: str = "f8", order: str = "<", *inner: bytes) -> bytes:
    flags = 63 if code == "O8" else 0
    state = [number(3), text(order), *(inner or (NONE, NONE, NONE)), *map(number, (-1, -1, flags))]
    return call(name("numpy", "dtype"), text(code), b"\x89", b"\x88") + tup(*state) + BUILD


def array(shape: bytes, content: bytes, kind: bytes = b"", fortran: bytes = b"\x89") -> bytes:
    return EMPTY + tup(number(1), shape, kind or dtype(), fortran, content) + BUILD


def wrapped(after: bytes = b"", **changes: bytes) -> bytes:
    state = {"subclass": NDARRAY, "shape": tup(number(1), number(1)), "order": text("C")}
    return (
        WRAPPER
        + TUPLE
        + NEWOBJ
        + dictionary(**state | {"dtype": dtype()} | changes)
        + BUILD
        + after
    )


def kmeans(centers: bytes, **more: bytes) -> bytes:
    return KMEANS + TUPLE + NEWOBJ + dictionary(cluster_centers_=centers, **more) + BUILD


def file(body: bytes) -> bytes:
    return PROTO + body + END


SHAPE = tup(number(1), number(2))
GOOD = array(SHAPE, data(bytes(16)))


class Payload(NamedTuple):
    """A hostile file: how it is made, the words of its refusal, and who would execute it."""

    make: Callable[[str], bytes]
    words: str
    runs: str = ""  # "pickle" or "joblib": loaded so, it makes the canary


def executing(module: str, attribute: str, arguments: Callable[[str], bytes]) -> Payload:
    """A call of one function, that makes the canary."""
    return Payload(
        lambda c: file(call(name(module, attribute), arguments(c))),
        rf"the name {module}.{attribute} is not allowed",
        "pickle",
    )


def still(content: bytes) -> Callable[[str], bytes]:
    return lambda _canary: content


def file_of(centers: bytes) -> Callable[[str], bytes]:
    return still(file(kmeans(centers)))


def shell(canary: str) -> bytes:
    return text(f"touch {canary}")


def python(canary: str) -> str:
    return f"open({canary!r}, 'w').close()"


def both(first: bytes, then: bytes) -> bytes:
    return tup(first, then)


OS = call(name("builtins", "__import__"), text("os"))
ADD_EXTENSION = call(name("copyreg", "add_extension"), text("os"), text("system"), number(77))

EXECUTING = {
    "os.system": executing("os", "system", shell),
    "posix.system": executing("posix", "system", shell),
    "os.popen": executing("os", "popen", shell),
    "eval": executing("builtins", "eval", lambda c: text(python(c))),
    "exec": executing("builtins", "exec", lambda c: text(python(c))),
    "python 2's eval": Payload(
        lambda c: b"\x80\x02" + call(name("__builtin__", "eval"), text(python(c))) + END,
        "__builtin__.eval",
        "pickle",
    ),
    "open": executing("builtins", "open", lambda c: text(c) + text("w")),
    "codecs.open": executing("codecs", "open", lambda c: text(c) + text("w")),
    "check_call": executing(
        "subprocess", "check_call", lambda c: LIST + MARK + text("touch") + text(c) + b"e"
    ),
    "Popen": executing(
        "subprocess", "Popen", lambda c: LIST + MARK + text("touch") + text(c) + b"e"
    ),
    "getoutput": executing("subprocess", "getoutput", shell),
    "runpy": executing("runpy", "_run_code", lambda c: text(python(c)) + DICT),
    "timeit": executing("timeit", "timeit", lambda c: text("pass") + text(python(c))),
    "cProfile": executing("cProfile", "run", lambda c: text(python(c)) + text(os.devnull)),
    "pty.spawn": executing(
        "pty", "spawn", lambda c: LIST + MARK + text("touch") + text(c) + b"e"
    ),
    "numpy.f2py": executing("numpy.f2py.crackfortran", "myeval", lambda c: text(python(c))),
    "numpy.testing": executing("numpy.testing", "runstring", lambda c: text(python(c)) + DICT),
    "functools.partial": Payload(
        lambda c: file(call(call(name("functools", "partial"), name("os", "system"), shell(c)))),
        "functools.partial",
        "pickle",
    ),
    "operator.attrgetter": Payload(
        lambda c: file(
            call(call(call(name("operator", "attrgetter"), text("system")), OS), shell(c))
        ),
        "operator.attrgetter",
        "pickle",
    ),
    "operator.methodcaller": Payload(
        lambda c: file(
            call(call(name("operator", "methodcaller"), text("system"), shell(c)), OS)
        ),
        "operator.methodcaller",
        "pickle",
    ),
    "getattr": Payload(
        lambda c: file(call(call(name("builtins", "getattr"), OS, text("system")), shell(c))),
        "builtins.getattr",
        "pickle",
    ),
    "import_module": Payload(
        lambda c: file(
            call(
                call(
                    name("builtins", "getattr"),
                    call(name("importlib", "import_module"), text("os")),
                    text("system"),
                ),
                shell(c),
            )
        ),
        "builtins.getattr",
        "pickle",
    ),
    "map": Payload(
        lambda c: file(
            call(
                name("builtins", "list"),
                call(name("builtins", "map"), name("os", "system"), tup(shell(c))),
            )
        ),
        "builtins.list",
        "pickle",
    ),
    "STACK_GLOBAL": Payload(
        lambda c: file(call(text("os") + text("system") + b"\x93", shell(c))), "os.system", "pickle"
    ),
    "a dotted name": Payload(
        lambda c: file(call(text("shutil") + text("os.system") + b"\x93", shell(c))),
        "shutil.os.system",
        "pickle",
    ),
    "INST": Payload(
        lambda c: PROTO + MARK + shell(c) + b"ios\nsystem\n" + END, r"INST\)", "pickle"
    ),
    "OBJ": Payload(
        lambda c: file(MARK + name("os", "system") + shell(c) + b"o"), "os.system", "pickle"
    ),
    "EXT1": Payload(
        lambda c: file(ADD_EXTENSION + call(b"\x82\x4d", shell(c))), "copyreg.add_ext", "pickle"
    ),
    "a pickle in a pickle": Payload(
        lambda c: file(
            call(name("_pickle", "loads"), data(file(call(name("os", "system"), shell(c)))))
        ),
        "_pickle.loads",
        "pickle",
    ),
    "_reconstructor": Payload(
        lambda c: file(
            call(
                name("copyreg", "_reconstructor"),
                name("subprocess", "Popen"),
                name("subprocess", "Popen"),
                LIST + MARK + text("touch") + text(c) + b"e",
            )
        ),
        "copyreg._reconstructor",
        "pickle",
    ),
    "__setstate__ put on a class": Payload(
        lambda c: file(
            name("argparse", "Namespace")
            + both(NONE, dictionary(__setstate__=name("os", "system")))
            + BUILD + b"0" + name("argparse", "Namespace") + TUPLE + NEWOBJ + shell(c) + BUILD
        ),
        "argparse.Namespace",
        "pickle",
    ),
    "an attribute of a k-means": Payload(
        lambda c: file(kmeans(GOOD, init=call(name("os", "system"), shell(c)))),
        "os.system",
        "pickle",
    ),
    "an object array of joblib": Payload(
        lambda c: file(wrapped(file(call(name("os", "system"), shell(c))), dtype=dtype("O8", "|"))),
        "dtype 'O8'",
        "joblib",
    ),
    "joblib in zlib": Payload(
        lambda c: zlib.compress(file(call(name("os", "system"), shell(c)))), "os.system", "joblib"
    ),
}  # fmt: skip

ZEROS = 80 << 20
LAUGHS = TUPLE + b"".join(b"\x94h%c\x86" % i for i in range(60))  # 2^60 leaves
LZ4 = b"\x04\x22\x4d\x18\x60\x70\x73"

REFUSED = {
    # opcodes that no k-means has
    "EXT2": Payload(still(file(b"\x83\x00\x01")), r"EXT2\)"),
    "EXT4": Payload(still(file(b"\x84\x00\x00\x00\x01")), r"EXT4\)"),
    "PERSID": Payload(still(file(b"P../../etc/passwd\n")), r"PERSID\)"),
    "BINPERSID": Payload(still(file(text("x") + b"Q")), r"BINPERSID\)"),
    "NEWOBJ_EX": Payload(still(file(KMEANS + TUPLE + DICT + b"\x92")), r"NEWOBJ_EX\)"),
    "NEXT_BUFFER": Payload(still(file(b"\x97")), r"NEXT_BUFFER\)"),
    "a set": Payload(still(file(b"\x8f")), r"EMPTY_SET\)"),
    "protocol 0's GET": Payload(still(file(b"g0\n")), r"GET\)"),
    "no such opcode": Payload(still(file(b"\xff")), r"0xff \(unknown\) at 2"),
    # the beginning and the end
    "protocol 255": Payload(still(b"\x80\xff."), "protocol 255"),
    "protocol 1": Payload(still(b"\x80\x01."), "protocol 1"),
    "text protocol": Payload(still(b"cos\nsystem\n."), "does not begin with PROTO"),
    "an empty file": Payload(still(b""), "does not begin with PROTO"),
    "one byte": Payload(still(b"\x80"), "does not begin with PROTO"),
    "no end": Payload(still(PROTO + kmeans(GOOD)), "truncated"),
    "an end at once": Payload(still(file(b"")), "the stack is empty"),
    "bytes after the end": Payload(still(file(kmeans(GOOD)) + b"x"), "1 bytes follow"),
    "values left over": Payload(still(file(NONE + kmeans(GOOD))), "values left over"),
    "a frame of 2^63 bytes": Payload(still(file(b"\x95" + u64(1 << 63) + NONE)), "truncated"),
    "bytes of 2^63": Payload(still(file(b"\x8e" + u64((1 << 63) - 1))), "truncated"),
    "text of 4 GB": Payload(still(file(b"X" + u32(0xFFFFFFFF))), "truncated"),
    "text that is none": Payload(still(file(b"X" + u32(2) + b"\xc3\x28")), "not UTF-8"),
    "a name without an end": Payload(still(file(b"c" + b"a" * 70_000)), "no name of at most"),
    # names and calls
    "a module alone": Payload(still(file(text("os") + text("") + b"\x93")), "os. is not allowed"),
    "a name that is a list": Payload(still(file(LIST + LIST + b"\x93")), "is not allowed"),
    "numpy.load": Payload(
        still(file(call(name("numpy", "load"), text("x.npy"), NONE, b"\x88"))), "numpy.load"
    ),
    "joblib.load": Payload(still(file(call(name("joblib", "load"), text("x")))), "joblib.load"),
    "old joblib's file names": Payload(
        still(file(name("joblib.numpy_pickle", "NDArrayWrapper"))), "NDArrayWrapper"
    ),
    "a call of a k-means": Payload(still(file(call(KMEANS))), "call of sklearn.*KMeans"),
    "a call of a list": Payload(still(file(call(LIST))), "call of a list"),
    "a call without a tuple": Payload(
        still(file(name("numpy", "dtype") + LIST + REDUCE)), "call of numpy.dtype"
    ),
    "an object of a dtype": Payload(
        still(file(name("numpy", "dtype") + TUPLE + NEWOBJ)), "object of numpy.dtype"
    ),
    "an argument too many": Payload(
        still(file(call(RECONSTRUCT, NDARRAY, NONE, NONE, NONE))), "wrong arguments"
    ),
    "codecs": Payload(
        still(file(call(name("_codecs", "encode"), text("x"), text("zlib_codec")))), "encoding"
    ),
    "bytes that are no Latin-1": Payload(
        still(file(call(name("_codecs", "encode"), text("\u20ac"), text("latin1")))), "Latin-1"
    ),
    # states
    "BUILD on a class": Payload(
        still(file(KMEANS + both(NONE, dictionary(x=NONE)) + BUILD)), "BUILD on sklearn"
    ),
    "BUILD on a list": Payload(still(file(LIST + DICT + BUILD)), "BUILD on a list"),
    "a state of slots": Payload(
        still(file(KMEANS + TUPLE + NEWOBJ + both(NONE, DICT) + BUILD)), "not a dictionary"
    ),
    "a second state": Payload(
        still(file(kmeans(GOOD) + dictionary(x=NONE) + BUILD)), "a second state"
    ),
    "a second shape": Payload(
        still(file(GOOD + tup(number(1), SHAPE, dtype(), b"\x89", data(b"")) + BUILD)),
        "a second state",
    ),
    "attributes of Python": Payload(
        still(file(KMEANS + TUPLE + NEWOBJ + dictionary(__class__=NONE, __dict__=DICT) + BUILD)),
        "never fitted",
    ),
    "an item of a class": Payload(still(file(KMEANS + text("k") + NONE + SETITEM)), "SETITEM on"),
    "an item of a tuple": Payload(still(file(TUPLE + NONE + b"a")), "APPEND to a tuple"),
    "an odd number of items": Payload(still(file(DICT + MARK + NONE + SETITEMS)), "no value"),
    "a k-means that is a list": Payload(file_of(LIST), "holds a list"),
    "a k-means in itself": Payload(
        still(file(KMEANS + TUPLE + NEWOBJ + b"\x94" + dictionary(cluster_centers_=b"h\0") + b"b")),
        "holds an object of sklearn",
    ),
    "centers never filled": Payload(file_of(EMPTY), "holds an object of numpy"),
    # arrays
    "objects": Payload(still(file(dtype("O8", "|"))), "dtype 'O8'"),
    "an object scalar": Payload(
        still(file(call(name("numpy.core.multiarray", "scalar"), dtype("O8", "|"), data(b"x")))),
        "dtype 'O8'",
    ),
    "raw bytes": Payload(still(file(dtype("V8", "|"))), "dtype 'V8'"),
    "a dtype with fields": Payload(still(file(dtype("f8", "<", NONE, LIST, DICT))), "plain number"),
    "a dtype without a state": Payload(
        file_of(array(SHAPE, data(bytes(16)), call(name("numpy", "dtype"), text("f8")))),
        "the dtype of an array",
    ),
    "a subclass": Payload(
        still(file(call(RECONSTRUCT, KMEANS, tup(number(0)), data(b"b")))), "array of type sklearn"
    ),
    "numpy.matrix": Payload(still(file(name("numpy", "matrix"))), "numpy.matrix"),
    "a negative shape": Payload(still(file(array(tup(number(-1), number(-2)), NONE))), "length -1"),
    "a shape of 2^60 by 2^60": Payload(
        still(file(array(tup(number(1 << 60), number(1 << 60)), data(b"")))), "an array of over"
    ),
    "a shape of a number of 2000 bits": Payload(
        still(file(array(tup(number(1 << 1999), number(0)), data(b"")))), "an array of over"
    ),
    "a shape of truths": Payload(still(file(array(tup(b"\x88", b"\x88"), NONE))), "length True"),
    "a shape of laughs": Payload(still(file(array(tup(LAUGHS), data(b"")))), "length a tuple"),
    "too few bytes": Payload(still(file(array(SHAPE, data(b"1234567")))), "needs 16 .* has 7"),
    "data that are objects": Payload(still(file(array(SHAPE, LIST))), "not bytes"),
    "integers": Payload(
        file_of(array(SHAPE, data(bytes(16)), dtype("i8"))), "type <i8"
    ),
    "one dimension": Payload(file_of(array(tup(number(2)), data(bytes(16)))), r"\(2,\)"),
    "no centroid": Payload(
        file_of(array(tup(number(0), number(4)), data(b""))), r"\(0, 4\)"
    ),
    "too many centroids": Payload(
        file_of(array(tup(number(65_536), number(1)), data(bytes(65_536 * 8)))), "65535"
    ),
    "NaN": Payload(file_of(array(SHAPE, data(b"\xff" * 16))), "not finite"),
    "a huge array of joblib": Payload(
        still(file(wrapped(shape=tup(number(1 << 40), number(1 << 40))))), "an array of over"
    ),
    "a negative array of joblib": Payload(
        still(file(wrapped(shape=tup(number(-8), number(-8))))), "length -8"
    ),
    "an array of joblib that is not there": Payload(
        still(file(wrapped(shape=tup(number(60_000), number(8_000))))), "truncated"
    ),
    "a subclass of joblib": Payload(still(file(wrapped(subclass=KMEANS))), "not numpy.ndarray"),
    "a field that joblib has not": Payload(still(file(wrapped(filename=text("/x")))), "filename"),
    # memory and time
    "memo of 2^32 - 1": Payload(still(file(NONE + b"r" + u32(0xFFFFFFFF))), "holds None"),
    "memo that is empty": Payload(still(file(b"j" + u32(7))), "nothing is remembered as 7"),
    "memo without end": Payload(still(PROTO + NONE + b"\x94" * 1_000_000), "over 50000 opcodes"),
    "a billion laughs as a value": Payload(still(file(LAUGHS)), "holds a tuple"),
    "a billion laughs as a key": Payload(still(file(DICT + LAUGHS + NONE + SETITEM)), "is a tuple"),
    "a billion laughs as a name": Payload(still(file(LAUGHS + LAUGHS + b"\x93")), "not allowed"),
    "a billion laughs as arguments": Payload(
        still(file(call(RECONSTRUCT, NDARRAY, LAUGHS, LAUGHS))), "an array begins as"
    ),
    "depth": Payload(still(file(LIST * 20_000 + b"a" * 19_999)), "holds a list"),
    "depth of tuples": Payload(still(file(TUPLE + b"\x85" * 40_000)), "holds a tuple"),
    "marks": Payload(still(file(MARK * 40_000)), "stack is empty"),
    "a zlib bomb": Payload(still(zlib.compress(bytes(ZEROS), 1)), "zlib unpack to over"),
    "a gzip bomb": Payload(still(gzip.compress(bytes(ZEROS), 1)), "gzip unpack to over"),
    "a bzip2 bomb": Payload(still(bz2.compress(bytes(ZEROS), 9)), "bzip2 unpack to over"),
    "an xz bomb": Payload(still(lzma.compress(bytes(ZEROS), preset=0)), "xz unpack to over"),
    "an lz4 frame": Payload(still(LZ4 + bytes(40)), "LZ4"),
    "an lzma dictionary of 4 GB": Payload(
        still(b"\x5d\x00\x00\x00\xf0" + u64(1 << 40) + bytes(64)), "lzma|does not begin"
    ),
    "nested": Payload(still(zlib.compress(gzip.compress(file(kmeans(GOOD))))), "compressed again"),
    "truncated zlib": Payload(still(zlib.compress(file(kmeans(GOOD)))[:-8]), "truncated zlib"),
    "damaged gzip": Payload(still(gzip.compress(file(kmeans(GOOD)))[:-8] + bytes(8)), "damaged g"),
    "bytes after zlib": Payload(still(zlib.compress(file(kmeans(GOOD))) + b"x"), "more bytes"),
    "a PyTorch file": Payload(still(b"PK\x03\x04" + bytes(40)), "zip archive"),
    "joblib before 0.10": Payload(still(b"ZF0x10" + bytes(40)), "joblib before 0.10"),
}  # fmt: skip

PAYLOADS = EXECUTING | REFUSED
