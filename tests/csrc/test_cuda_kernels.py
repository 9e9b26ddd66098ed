"""The kernels as far as a machine without a GPU shows them: run thread by thread in the emulator,
and read as the compiler made them."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = ("sm_80", "sm_90a")


def run(*command: str | Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_the_kernels_in_the_emulator() -> None:
    """Every kernel, with threads, copies and products in flight scheduled at random.

    The build is kept: the next run builds what changed.
    """
    folder = ROOT / "build" / "emulator"
    run("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DSPIRE_TESTS=ON",
        "-DSPIRE_BINDINGS=OFF", "-DSPIRE_CUDA=OFF")  # fmt: skip
    run("cmake", "--build", folder, "--target", "spire_emulated_tests")
    said = run(folder / "tests/csrc/cuda/emulator/spire_emulated_tests")
    assert len(re.findall(r"^ok ", said, re.MULTILINE)) >= 25


def tools() -> Path | None:
    """The folder of cuobjdump and nvdisasm: on the PATH, with CUDA, or of the Python packages."""
    nvidia = importlib.util.find_spec("nvidia")
    packages = nvidia.submodule_search_locations if nvidia else None
    folders = [Path(path) for path in os.environ["PATH"].split(os.pathsep)]
    folders += [Path("/usr/local/cuda/bin")]
    folders += [found for root in packages or () for found in Path(root).glob("cu*/bin")]
    both = [f for f in folders if all((f / name).is_file() for name in ("cuobjdump", "nvdisasm"))]
    return both[0] if both else None


@pytest.fixture(scope="module")
def module_file() -> Path:
    spec = importlib.util.find_spec("spire_dsu._cuda")
    if spec is None or spec.origin is None:
        pytest.skip("this installation was built without CUDA: there is no nvcc")
    if tools() is None:
        pytest.skip("there is no cuobjdump with nvdisasm")
    return Path(spec.origin)


def dump(module_file: Path, *options: str) -> str:
    folder = tools()
    assert folder is not None
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [folder / "cuobjdump", *options, module_file],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return done.stdout


def kernel_name(symbol: str) -> str:
    """A mangled name -> `settle_rows`, `screen_kernel<2>`: all that tells our kernels apart."""
    found = re.findall(r"(?<=\d)(screen_kernel|settle_rows|prepare_rows|emit|count_heads|sum_up|"
                       r"pack|find_mean|find_spread)(?:ILi(\d)EE)?", symbol)  # fmt: skip
    assert found, symbol
    base, cluster = found[-1]
    return f"{base}<{cluster}>" if cluster else base


def resources(module_file: Path) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(kernel, architecture) -> registers, bytes of stack, bytes of static shared memory; the most
    of all instances."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    architecture = ""
    lines = iter(dump(module_file, "-res-usage").splitlines())
    for line in lines:
        if match := re.match(r"arch = (\w+)", line):
            architecture = match[1]
        if match := re.match(r"\s*Function (\S+):", line):
            usage = dict(re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", next(lines)))
            assert usage["LOCAL"] == "0"
            # From 9.0 on the system keeps 1 KiB of each block's shared memory.
            shared = int(usage["SHARED"]) - (1024 if architecture == "sm_90a" else 0)
            numbers = int(usage["REG"]), int(usage["STACK"]), max(0, shared)
            key = kernel_name(match[1]), architecture
            found[key] = tuple(map(max, found.get(key, (0, 0, 0)), numbers))
    return found


def stated() -> dict[tuple[str, str], tuple[int, int, int]]:
    """The same from the README's table."""
    text = (ROOT / "csrc" / "cuda" / "README.md").read_text()
    rows = re.findall(
        r"^\| `([\w<>]+)` \| ([\d-]+) / ([\d-]+) \| (\d+) \| (\d+) \|", text, re.MULTILINE
    )
    result = {}
    for kernel, *registers, stack, shared in rows:
        for architecture, count in zip(ARCHITECTURES, registers, strict=True):
            if count != "-":
                result[kernel, architecture] = (int(count), int(stack), int(shared))
    return result


def test_the_readme_states_what_the_kernels_take(module_file: Path) -> None:
    """Registers to the number where the compiler is the README's, stack and memory anywhere."""
    found, said = resources(module_file), stated()
    assert found.keys() == said.keys()
    release = re.search(r"nvcc (\d+\.\d+)", (ROOT / "csrc/cuda/README.md").read_text())
    assert release is not None
    nvcc = run("nvcc", "--version") if shutil.which("nvcc") else ""
    if f"release {release[1]}," in nvcc:
        assert found == said
    else:
        assert {key: use[1:] for key, use in found.items()} == {
            key: use[1:] for key, use in said.items()
        }


@functools.cache
def instructions(module_file: Path, architecture: str) -> dict[str, list[str]]:
    """Kernel -> the instructions of all its instances, operands left out."""
    listing = dump(module_file, "-sass", "-arch", architecture)
    parts = re.split(r"Function : (\S+)", listing)[1:]
    code: dict[str, list[str]] = {}
    for symbol, body in zip(parts[::2], parts[1::2], strict=True):
        found = re.findall(r"^\s+/\*\w{4,}\*/\s+(?:@\S+\s+)?([A-Z][\w.]*)", body, re.MULTILINE)
        code.setdefault(kernel_name(symbol), []).extend(found)
    return code


def count(code: list[str], prefix: str) -> int:
    return sum(each.startswith(prefix) for each in code)


def test_hopper_multiplies_with_its_own_instructions(module_file: Path) -> None:
    code = instructions(module_file, "sm_90a")
    for kernel in ("screen_kernel<1>", "screen_kernel<2>"):
        screen = code[kernel]
        products, waits = count(screen, "HGMMA.64x256x16.F32"), count(screen, "WARPGROUP.DEPBAR")
        assert products > 0
        assert 2 * waits < products, "a product waits for the one before"
        assert count(screen, "HMMA") == count(screen, "LDL") == count(screen, "STL") == 0
        assert count(screen, "UTMALDG") > 0, "tiles come by the copy engine"
        assert count(screen, "USETMAXREG") == 2, "the producer gives registers to the consumers"
    assert any("MULTICAST" in each for each in code["screen_kernel<2>"])
    assert not any("MULTICAST" in each for each in code["screen_kernel<1>"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reads_of_whole_rows_are_wide_and_nothing_spills(
    module_file: Path, architecture: str
) -> None:
    code = instructions(module_file, architecture)
    assert count(code["prepare_rows"], "LDG.E.128") > 0
    for kernel, listing in code.items():
        if kernel != "settle_rows":  # which keeps 576-bit sums there, for exact ties
            assert count(listing, "LDL") == count(listing, "STL") == 0, kernel
    portable = code["screen_kernel"]
    assert count(portable, "HMMA.16816.F32") >= 64
    assert count(portable, "LDGSTS") > 0, "tiles come by asynchronous copies"
    assert count(portable, "LDSM") > 0
