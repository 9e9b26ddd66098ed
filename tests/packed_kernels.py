"""Each kernel of the packed pass in Triton against its meaning in PyTorch, on odd shapes.

    python tests/packed_kernels.py cuda
    TRITON_INTERPRET=1 python tests/packed_kernels.py cpu

Exits with 1, and names the kernel, where one is further off than rounding.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

Case = tuple[str, Tensor, Tensor, float]


def mend_interpreter() -> None:
    """Two gaps of Triton 3.6's interpreter.

    It cannot loop up to a variable under NumPy 2.4, which wants `item`, and it multiplies bfloat16
    as the integers that it keeps them in.
    """
    from triton.runtime import interpreter

    plain, dot = interpreter._patch_lang_tensor, interpreter.InterpreterBuilder.create_dot

    def patched(tensor: Any, scope: Any) -> None:
        plain(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    def widened(handle: Any) -> Any:
        if handle.data.dtype != np.uint16:
            return handle
        wide = (handle.data.astype(np.uint32) << 16).view(np.float32)
        return interpreter.TensorHandle(wide, interpreter.tl.float32)

    interpreter._patch_lang_tensor = patched
    interpreter.InterpreterBuilder.create_dot = lambda self, a, b, *rest: dot(
        self, widened(a), widened(b), *rest
    )


def cases(device: str, half: torch.dtype) -> Iterator[Case]:
    """Name, what the kernel gives, what it should, how far they may be apart."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        mend_interpreter()
    from spire_dsu.hubert import kernels_torch as plain
    from spire_dsu.hubert import kernels_triton as fused

    rng = torch.Generator(device).manual_seed(3)

    def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(*shape, generator=rng, device=device).to(dtype)

    def ints(rows: list[Any]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int32, device=device)

    ulp = 2.0 ** (-9 if half == torch.float16 else -6)
    stream, extents = normal(9_000) + 0.3, ints([[0, 5_000], [5_120, 401], [0, 0], [300, 4_096]])
    given = torch.tensor([[0, 0], [0, 0], [0.5, 2.0], [0, 0]], device=device)
    found = plain.moments(stream, extents, given, 1e-5)
    yield "moments", fused.moments(stream, extents, given, 1e-5), found, 1e-6
    weight, root = torch.zeros(24, 16, device=device), torch.zeros(16, 16, device=device)
    weight[:, :11], root[:11, :11] = normal(24, 11), normal(11, 11)
    first = (
        stream[:4_200], found, ints([0] * 8 + [1] * 4 + [2]), weight.to(half), root, normal(24),
        10, 5, 64, 1e-5,
    )  # fmt: skip
    yield "first_layer", fused.first_layer(*first), plain.first_layer(*first), ulp
    # Rows and columns at the borders of small and of large tiles, and a sum in one step and in two.
    for count, wide, deep in (
        (1, 40, 48),
        (32, 64, 64),
        (149, 40, 63),
        (128, 256, 64),
        (129, 300, 96),
    ):
        rows, bias = normal(2 * count + 3, deep // 3, dtype=half), normal(wide, dtype=half)
        windows = rows.as_strided((count, deep // 3 * 3), (deep // 3 * 2, 1))
        weights = normal(wide, deep // 3 * 3, dtype=half)
        for gelu in (False, True):
            args = windows, weights, bias, gelu, None
            name = f"product {count} {wide} {deep}"
            yield name, fused.product(*args), plain.product(*args), ulp
    laid, used = normal(3, 600, 8, dtype=half), ints([33])
    windows = laid.as_strided((3, 70, 136), (4_800, 64, 1))
    grouped = windows, normal(3, 40, 136, dtype=half), normal(3, 40, dtype=half), True, used
    made, expected = fused.product(*grouped), plain.product(*grouped)
    yield "product in groups", made[:, :33], expected[:, :33], ulp
    rows, gain, shift = normal(37, 96, dtype=half) * 3 + 1, normal(96), normal(96)
    made = fused.norm_gelu(rows.clone(), gain, shift, 1e-5)
    yield "norm_gelu", made, plain.norm_gelu(rows, gain, shift, 1e-5), ulp
    wide_rows = normal(5, 512), 4 * torch.ones(512, device=device), torch.zeros(512, device=device)
    made = fused.norm_gelu(wide_rows[0].clone(), *wide_rows[1:], 1e-5)  # from -13 to 13
    yield "GELU in float32", made, plain.norm_gelu(*wide_rows, 1e-5), 2e-6
    for index in (None, ints([5, 3, 0, 36, 36])):
        normed = rows, index, gain, shift, 1e-5, half
        yield "norm", fused.norm(*normed), plain.norm(*normed), ulp
    state, other, second = (
        normal(37, 96),
        torch.empty(37, 96, device=device),
        normal(37, 96, dtype=half),
    )
    other.copy_(state)
    expected = plain.sum_norm(other, rows, gain, shift, 1e-5)
    yield "sum_norm", fused.sum_norm(state, rows, gain, shift, 1e-5), expected, ulp
    yield "the state of sum_norm", state, other, 0.0
    expected = plain.add_norm(other, rows, second, gain, shift, 1e-5)
    yield "add_norm", fused.add_norm(state, rows, second, gain, shift, 1e-5), expected, ulp
    yield "the state of add_norm", state, other, 1e-6
    places = ints([-1, -1, 0, 1, 2, -1, 3, 36, -1])
    yield "spaced", fused.spaced(rows, places, 4), plain.spaced(rows, places, 4), 0.0
    outputs, origin = normal(4, 60, 24, dtype=half), ints([7 * i % 60 for i in range(37)])
    expected = plain.add_spaced(rows, outputs, origin)
    yield "add_spaced", fused.add_spaced(rows, outputs, origin), expected, 1e-6
    spans = [(0, 1), (1, 65), (65, 95), (95, 290), (290, 418), (418, 547), (547, 600)]
    tiles = ints([[at, *span] for span in spans for at in range(*span, 128)] + [[0, 0, 0]])
    for heads in (2, 3):
        qkv = normal(610, 72, dtype=half)
        qkv[547:] = float("inf")  # a neighbour that overflowed, and rows of nobody
        made = fused.attention(qkv, tiles, heads)[:547]
        yield f"attention {heads}", made, plain.attention(qkv, tiles, heads)[:547], 2 * ulp


def whole_pass(device: str, half: torch.dtype) -> Case:
    """A small model over a pack: what the kernels make of it together."""
    from spire_dsu.hubert import kernels_torch, kernels_triton
    from spire_dsu.hubert.architecture import Architecture
    from spire_dsu.hubert.checkpoint import tensor_shapes
    from spire_dsu.hubert.packed import PackedForward, PackInput
    from spire_dsu.hubert.packer import PackPiece, write
    from spire_dsu.hubert.packing import PackShape

    arch = Architecture(
        hidden_size=32, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
    )  # fmt: skip
    rng = torch.Generator().manual_seed(5)
    tensors = {
        name: torch.randn(shape, generator=rng) / int(np.prod(shape[1:])) ** 0.5
        for name, shape in tensor_shapes(arch, 2).items()
    }
    shape = PackShape(arch, 70, 4)
    host, pack = (PackInput.empty(shape, torch.device(each)) for each in ("cpu", device))
    lengths = (400, 9_000, 7_041)
    pieces = [PackPiece(torch.randn(n, generator=rng), None, 0, 0) for n in lengths]
    rows = write(host, shape, pieces).row_splits[-1]
    pack.copy_from(host)
    ours, truth = (
        PackedForward(
            arch, 2, tensors, dtype=half, device=torch.device(device), eps=1e-5, kernels=kernels
        )(shape, pack)
        for kernels in (kernels_triton, kernels_torch)
    )
    assert bool(ours[1][:rows].all())
    limit = 0.01 if half == torch.float16 else 0.08
    return "the pass", ours[0][:rows], truth[0][:rows], limit


def main(device: str) -> int:
    """The exit status."""
    wrong = 0
    for half in (torch.float16, torch.bfloat16):
        for name, ours, truth, limit in [*cases(device, half), whole_pass(device, half)]:
            gap = (ours.float() - truth.float()).abs().max() / truth.float().abs().max()
            good = ours.shape == truth.shape and bool(gap <= limit)
            wrong += not good
            print(f"{'ok   ' if good else 'WRONG'} {name} {half}: {float(gap):.1e}")  # noqa: T201
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
