"""Hostile k-means files: each is refused, within limits, and nothing of it ever runs.

A payload that can run under Python's own unpickler proves it here: the same bytes, loaded so in a
process of their own, make the canary file that must never appear when they are imported.
"""

from __future__ import annotations

import importlib.util
import os
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

import spire_dsu.import_pickle as door
from spire_dsu.errors import ModelError
from spire_dsu.import_pickle import Limits, import_codebook
from spire_dsu.import_pickle.sandbox import _program

_SPEC = importlib.util.spec_from_file_location(
    "pickle_payloads", Path(__file__).with_name("pickle_payloads.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
payloads = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(payloads)

PAYLOADS = payloads.EXECUTING | payloads.REFUSED
LIMITS = Limits(memory_bytes=256 << 20, cpu_seconds=20, wall_seconds=900.0, file_bytes=1 << 30)


def refusal(path: Path, out: Path) -> str:
    with pytest.raises(ModelError) as caught:
        import_codebook(path, out, trust_pickle=True, limits=LIMITS)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("what", list(PAYLOADS))
def test_a_hostile_file_is_refused_and_nothing_runs(what: str, tmp_path: Path) -> None:
    canary, path, out = tmp_path / "canary", tmp_path / "kmeans", tmp_path / "out.safetensors"
    path.write_bytes(PAYLOADS[what].make(str(canary)))
    message = refusal(path, out)
    assert re.search(PAYLOADS[what].words, message), message
    assert len(message) < 1500
    assert [p.name for p in tmp_path.iterdir()] == ["kmeans"]


@pytest.mark.parametrize("what", [name for name, p in PAYLOADS.items() if p.runs])
def test_the_same_file_runs_code_elsewhere(what: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "kmeans"
    path.write_bytes(PAYLOADS[what].make(str(canary)))
    script = "import sys, {0}\nwith open(sys.argv[1], 'rb') as file:\n    {0}.load(file)"
    subprocess.run(
        [sys.executable, "-c", script.format(PAYLOADS[what].runs), str(path)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=900,
        check=False,
    )
    # Some payloads (os.popen) leave a shell behind that outlives the loader; it is given time.
    patience = time.monotonic() + 120
    while not canary.exists() and time.monotonic() < patience:
        time.sleep(0.05)
    assert canary.exists(), "this payload proves nothing: it does not even run where it could"


def test_there_are_payloads_enough() -> None:
    assert len(payloads.EXECUTING) >= 25
    assert len(PAYLOADS) >= 100


def test_the_assembler_makes_files_that_would_pass(tmp_path: Path) -> None:
    # So that what is refused above is refused for its poison, and not for a slip of the assembler.
    for content in (
        payloads.file(payloads.kmeans(payloads.GOOD)),
        payloads.file(payloads.kmeans(payloads.wrapped(bytes(8)))),
        zlib.compress(payloads.file(payloads.kmeans(payloads.GOOD, other=payloads.LAUGHS))),
    ):
        (tmp_path / "kmeans").write_bytes(content)
        import_codebook(tmp_path / "kmeans", tmp_path / "out", trust_pickle=True, limits=LIMITS)


def test_what_has_no_end_is_not_begun(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        assert "not a regular file" in refusal(path, tmp_path / "out")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert f"{1 << 40} bytes are over the limit" in refusal(tmp_path / "sparse", tmp_path / "out")
    assert "No such file" in refusal(tmp_path / "absent", tmp_path / "out")


# -- the walls around the reading process


WALLED = """
import os, socket, subprocess, sys, types
for name, place in (("spire_dsu", {root!r}), ("spire_dsu.import_pickle", {folder!r})):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [place]
from spire_dsu.import_pickle.sandbox import lock_down
print(lock_down(memory_bytes=1 << 28, cpu_seconds={seconds}, file_bytes=1 << 20), flush=True)
"""


def walled(script: str, out: Path, seconds: int = 20) -> tuple[int, bytes]:
    """Runs a script behind the walls of the reading process; its status, and what it printed."""
    folder = Path(door.__file__).parent
    before = WALLED.format(root=str(folder.parent), folder=str(folder), seconds=seconds)
    with out.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", before + script],
            stdout=file,
            stderr=subprocess.DEVNULL,
            timeout=900,
            check=False,
        )
    return done.returncode, out.read_bytes()


FILTERED = (
    os.uname().machine in ("x86_64", "aarch64")
    and Path("/proc/sys/kernel/seccomp/actions_avail").exists()
)


@pytest.mark.skipif(not FILTERED, reason="this kernel or machine has no filter of system calls")
@pytest.mark.parametrize(
    "call",
    [
        "open('/etc/hostname')",
        "open({canary!r}, 'w')",
        "os.open('/', os.O_RDONLY)",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['/bin/true'])",
        "os.kill(os.getppid(), 0)",
        "os.unlink({path!r})",
        "os.listdir('/')",
        "os.memfd_create('x')",
        "os.chdir('/')",
    ],
)
def test_the_reading_process_can_open_and_start_nothing(call: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "out"
    script = (
        f"try:\n    {call.format(canary=str(canary), path=str(path))}\n"
        "except OSError as error:\n    print(error.errno)\n"
        "else:\n    print('it could')\n"
    )
    assert walled(script, path) == (0, b"True\n1\n")  # filtered, and EPERM
    assert not canary.exists()


def test_memory_time_and_files_have_limits(tmp_path: Path) -> None:
    script = "try:\n    bytearray(1 << 29)\nexcept MemoryError:\n    print('no')\n"
    assert walled(script, tmp_path / "out")[1].endswith(b"\nno\n")
    assert walled("while True: pass", tmp_path / "out", seconds=1)[0] < 0
    script = (
        "try:\n    while True: os.write(1, bytes(9999))\nexcept OSError as e: sys.exit(e.errno)"
    )
    status, written = walled(script, tmp_path / "out")
    assert status == 27  # EFBIG
    assert len(written) == 1 << 20


def test_the_filter_allows_its_numbers_alone() -> None:
    numbers = {"read": 0, "write": 1, "exit": 60}
    program = _program(7, numbers)
    code = [struct.unpack("<HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]

    def run(architecture: int, number: int) -> int:
        at, value = 0, 0
        while True:
            operation, yes, no, constant = code[at]
            if operation == 0x06:
                return int(constant)
            if operation == 0x20:
                value = architecture if constant == 4 else number
                at += 1
            else:
                at += 1 + (yes if value == constant else no)

    assert [n for n in range(100) if run(7, n) == 0x7FFF0000] == [0, 1, 60]
    assert {run(8, n) for n in range(100)} == {run(7, 2)} == {0x00050001}


def test_too_much_memory_or_time_is_told(tmp_path: Path) -> None:
    path, out = tmp_path / "kmeans", tmp_path / "out"
    texts = payloads.LIST + payloads.MARK + payloads.text("x" * 4000) * 20_000 + b"e"
    path.write_bytes(payloads.file(payloads.kmeans(payloads.GOOD, other=texts)))
    for limits, words in (
        (Limits(memory_bytes=64 << 20), "needs over 64 MiB of memory"),
        (Limits(wall_seconds=0.001), "not read within 0.001 s"),
        (Limits(file_bytes=1000), "over the limit of 1000"),
    ):
        with pytest.raises(ModelError, match=words):
            import_codebook(path, out, trust_pickle=True, limits=limits)
    assert not out.exists()
    import_codebook(path, out, trust_pickle=True)
