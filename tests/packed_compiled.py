"""Every launch of the packed pass, compiled ahead of time for the architectures that matter.

    python tests/packed_compiled.py

Runs the pass of HuBERT-large's shape on tensors that have no memory, with Triton told that there is
such a device, and compiles instead of launching. Prints a JSON line for each kernel and variant:
registers, bytes of stack (where spilled registers go), shared memory, instructions that multiply on
warpgroups (wgmma) or on warps (mma), and waits for those of warpgroups.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from spire_dsu.hubert import kernels_triton
from spire_dsu.hubert.architecture import Architecture
from spire_dsu.hubert.checkpoint import tensor_shapes
from spire_dsu.hubert.packed import PackedForward, PackInput
from spire_dsu.hubert.packing import PackShape

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
META = torch.device("meta")
TARGETS = (90, 80)


def resources(kernel: Any) -> dict[str, Any]:
    """What ptxas made of a kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()

        def dump(option: str) -> str:
            command = [TOOLS / "cuobjdump", option, file.name]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        usage = dict(re.findall(r"(REG|STACK):(\d+)", dump("-res-usage")))
        listing = dump("-sass") if "mma" in kernel.asm["ptx"] else ""
    return {
        "registers": int(usage["REG"]),
        "stack": int(usage["STACK"]),
        "shared": kernel.metadata.shared,
        "warps": kernel.metadata.num_warps,
        "wgmma": len(re.findall(r"\bHGMMA\.", listing)),
        "waits": len(re.findall(r"\bWARPGROUP\.DEPBAR", listing)),
        "mma": len(re.findall(r"\bHMMA\.", listing)),
    }


def compile_instead_of_launching(found: dict[str, Any]) -> None:
    """From now on `kernel[grid](...)` compiles, and adds what came of it."""
    plain = JITFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernel = plain(self, *args, grid=grid, warmup=True, **options)
        switches = [
            f"{name}={options[name]}" for name in ("ADD", "GATHER", "GELU", "LIMITED", "WIDTH")
            if name in options
        ]  # fmt: skip
        name = " ".join([self.__name__, *switches])
        if name not in found:
            found[name] = resources(kernel)
        return kernel

    JITFunction.run = run
    kernels_triton.linear = lambda rows, weight, _: rows.new_empty(len(rows), len(weight))


def main() -> None:
    """Compiles the pass in float16 for every target, and says what came of it."""
    device = SimpleNamespace(architecture=0)
    driver.set_active(
        SimpleNamespace(
            get_current_device=lambda: device.architecture,
            get_current_stream=lambda _: 0,
            get_current_target=lambda: GPUTarget("cuda", device.architecture, 32),
        )
    )
    found: dict[str, Any] = {}
    compile_instead_of_launching(found)
    arch = Architecture(
        hidden_size=1024, num_attention_heads=16, intermediate_size=4096,
        feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
    )  # fmt: skip
    tensors = {
        name: torch.empty(shape, device=META) for name, shape in tensor_shapes(arch, 2).items()
    }
    shape = PackShape(arch, 16_896, 512)
    forward = PackedForward(
        arch, 2, tensors, dtype=torch.float16, device=META, eps=1e-5, kernels=kernels_triton
    )
    for device.architecture in TARGETS:
        found.clear()
        forward(shape, PackInput.empty(shape, META))
        for name, said in found.items():
            line = {"architecture": device.architecture, "kernel": name, **said}
            print(json.dumps(line))  # noqa: T201


if __name__ == "__main__":
    main()
