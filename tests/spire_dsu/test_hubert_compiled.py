"""The kernels of the packed pass as the compiler makes them: no GPU is needed for that."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
KERNELS = TESTS.parent / "python" / "spire_dsu" / "hubert" / "kernels_triton.py"
PRODUCTS = {90: ("wgmma", "mma"), 80: ("mma", "wgmma")}  # what multiplies there, and what not
SHARED = {90: 227 * 1024, 80: 163 * 1024}  # what a block may have
REGISTERS = 65_536  # what a multiprocessor has


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed here; it has no build for this machine")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    command = [sys.executable, "-W", "ignore", str(TESTS / "packed_compiled.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_pass_launches_every_kernel(compiled: list[dict[str, Any]]) -> None:
    launched = set(re.findall(r"^    (_\w+)\[.*\]\($", KERNELS.read_text(), re.MULTILINE))
    launched |= set(re.findall(r"^    (_\w+)\[grid\]\(", KERNELS.read_text(), re.MULTILINE))
    assert len(launched) == 7
    for architecture in PRODUCTS:
        names = {e["kernel"].split()[0] for e in compiled if e["architecture"] == architecture}
        assert names == launched


def test_none_spills_and_products_use_the_matrix_units(compiled: list[dict[str, Any]]) -> None:
    for each in compiled:
        architecture, name = each["architecture"], each["kernel"]
        assert each["stack"] == 0, f"{name} spills"
        assert each["shared"] <= SHARED[architecture], name
        assert 32 * each["warps"] * each["registers"] <= REGISTERS, name
        multiplies = name.startswith(("_product", "_attention", "_first_layer"))
        right, wrong = PRODUCTS[architecture]
        assert (each[right] > 0) == multiplies, name
        assert each[wrong] == 0, name


def test_products_of_warpgroups_overlap(compiled: list[dict[str, Any]]) -> None:
    """ptxas makes each wait for the one before where it cannot tell who writes their sums."""
    found = [
        e for e in compiled if e["kernel"].startswith(("_product", "_attention")) and e["wgmma"]
    ]
    assert len(found) == 4
    for each in found:
        assert 2 * each["waits"] <= each["wgmma"], each["kernel"]


def test_two_blocks_of_attention_share_a_multiprocessor(compiled: list[dict[str, Any]]) -> None:
    """One multiplies while the other takes its exponents."""
    found = [each for each in compiled if each["kernel"].startswith("_attention")]
    assert len(found) == 2
    for each in found:
        assert 2 * 32 * each["warps"] * each["registers"] <= REGISTERS
        assert 2 * (each["shared"] + 1024) <= SHARED[each["architecture"]]
