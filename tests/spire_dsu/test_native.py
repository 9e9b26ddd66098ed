"""The native code under its own tests with sanitizers; the stub; what the compiler made of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shapes import MULTIPLIER

from spire_dsu import _core

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path, *options: str) -> Path:
    """Configure and build the C++ tests. The folder is kept: the next run builds what changed."""
    configure = [
        "cmake",
        "-S",
        ROOT,
        "-B",
        folder,
        "-G",
        "Ninja",
        "-DSPIRE_TESTS=ON",
        "-DSPIRE_BINDINGS=OFF",
        "-DSPIRE_STRICT=ON",
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in ([*configure, "-DSPIRE_CUDA=OFF", *options], ["cmake", "--build", folder]):
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


@pytest.mark.parametrize(
    "sanitizers", ["address,undefined", *(["thread"] if MULTIPLIER > 1 else [])]
)
def test_the_kernels_under_sanitizers(sanitizers: str) -> None:
    folder = ROOT / "build" / f"sanitize-{sanitizers.partition(',')[0]}"
    build(folder, f"-DSPIRE_SANITIZE={sanitizers}", "-DCMAKE_CXX_FLAGS_RELEASE=-O1")
    done = subprocess.run([folder / "tests/csrc/spire_tests"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^ok ", done.stdout, re.MULTILINE)) >= 20


def test_the_stub_is_what_the_module_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pybind11_stubgen", "spire_dsu._core", "-o", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "spire_dsu" / "_core.pyi").read_text()
    assert made == (ROOT / "python/spire_dsu/_core.pyi").read_text(), "run: make stubs"


def objects() -> dict[str, Path]:
    """Instruction set -> the object file that the installed module was linked from."""
    tag = re.search(r"cpython-(\d+)", Path(_core.__file__).name)
    assert tag is not None
    found = ROOT.glob(f"build/cp{tag.group(1)}-*/csrc/cpu/CMakeFiles/spire_cpu.dir/screen_*.cpp.o")
    files = {re.sub(r"screen_|\.cpp\.o", "", path.name): path for path in found}
    if not files:
        pytest.skip("the module was not built in this checkout")
    return files


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs binutils")
def test_the_sums_of_a_tile_stay_in_registers() -> None:
    """GCC has spilled them before, at half the speed: no stack access in the product of a tile."""
    for isa, path in objects().items():
        listing = subprocess.run(
            ["objdump", "-d", "--no-show-raw-insn", "-C", path], capture_output=True, text=True
        )
        body = re.search(r"<[^\n]*\bmultiply<.*?\n(.*?\bret\b)", listing.stdout, re.DOTALL)
        assert body is not None, isa
        assert not re.search(r"mov.*mm\d+,.*\(%rsp\)", body.group(1)), isa


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs binutils")
def test_no_wide_instruction_can_leak_into_portable_code() -> None:
    """A weak symbol in a file compiled for AVX-512 could be chosen by the linker for everyone."""
    for isa, path in objects().items():
        symbols = subprocess.run(
            ["nm", "-C", path], capture_output=True, text=True, check=True
        ).stdout
        assert not re.findall(r"^\S+ [WVu] .*", symbols, re.MULTILINE), isa
