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

import torch
from torch import Tensor

Case = tuple[str, Tensor, Tensor, float]


def mend_interpreter() -> None:
    """Triton 3.6's interpreter cannot loop up to a variable under NumPy 2.4, which wants `item`."""
    from triton.runtime import interpreter  # type: ignore[import-not-found, unused-ignore]

    plain = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        plain(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched


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
    stream, extents = normal(9_000) + 0.3, ints([[0, 5_000], [5_120, 401], [0, 0]])
    given = torch.tensor([[0, 0], [0, 0], [0.5, 2.0]], device=device)
    found = plain.moments(stream, extents, given, 1e-5)
    yield "moments", fused.moments(stream, extents, given, 1e-5), found, 1e-6
    weight, root = torch.zeros(24, 16, device=device), torch.zeros(16, 16, device=device)
    weight[:, :11], root[:11, :11] = normal(24, 11), normal(11, 11)
    first = (
        stream[:4_200], found, ints([0] * 8 + [1] * 4 + [2]), weight.to(half), root, normal(24),
        10, 5, 64, 1e-5,
    )  # fmt: skip
    yield "first_layer", fused.first_layer(*first), plain.first_layer(*first), ulp
    for wide, deep in ((40, 48), (40, 64), (300, 64), (256, 96)):
        rows, bias = normal(301, deep // 3, dtype=half), normal(wide, dtype=half)
        windows = rows.as_strided((149, deep // 3 * 3), (deep // 3 * 2, 1))
        weights = normal(wide, deep // 3 * 3, dtype=half)
        for gelu in (False, True):
            args = windows, weights, bias, gelu, None
            yield f"product {wide} {deep}", fused.product(*args), plain.product(*args), ulp
    laid, used = normal(3, 50, 8, dtype=half), ints([5])
    windows = laid.as_strided((3, 5, 136 // 8 * 8), (400, 64, 1))
    grouped = windows, normal(3, 40, 136, dtype=half), normal(3, 40, dtype=half), True, used
    yield "product in groups", fused.product(*grouped), plain.product(*grouped), ulp
    rows, gain, shift = normal(37, 96, dtype=half) * 3 + 1, normal(96), normal(96)
    made = fused.norm_gelu(rows.clone(), gain, shift, 1e-5)
    yield "norm_gelu", made, plain.norm_gelu(rows, gain, shift, 1e-5), ulp
    for index in (None, ints([5, 3, 0, 36, 36])):
        normed = rows, index, gain, shift, 1e-5, half
        yield "norm", fused.norm(*normed), plain.norm(*normed), ulp
    state, other = normal(37, 96), torch.empty(37, 96, device=device)
    other.copy_(state)
    expected = plain.add_norm(other, rows, gain, shift, 1e-5)
    yield "add_norm", fused.add_norm(state, rows, gain, shift, 1e-5), expected, ulp
    yield "the state of add_norm", state, other, 1e-6
    places = ints([-1, -1, 0, 1, 2, -1, 3, 36, -1])
    yield "spaced", fused.spaced(rows, places, 4), plain.spaced(rows, places, 4), 0.0
    outputs, origin = normal(4, 60, 24, dtype=half), ints([7 * i % 60 for i in range(37)])
    expected = plain.add_spaced(rows, outputs, origin)
    yield "add_spaced", fused.add_spaced(rows, outputs, origin), expected, 1e-6
    spans = [(0, 1), (1, 65), (65, 95), (95, 290)]
    tiles = ints([[at, *span] for span in spans for at in range(*span, 128)] + [[0, 0, 0]])
    for heads in (2, 3):
        qkv = normal(300, 72, dtype=half)
        made = fused.attention(qkv, tiles, heads)[:290]
        yield f"attention {heads}", made, plain.attention(qkv, tiles, heads)[:290], 2 * ulp


def main(device: str) -> int:
    """The exit status."""
    wrong = 0
    for half in (torch.float16, torch.bfloat16) if device == "cuda" else (torch.float16,):
        for name, ours, truth, limit in cases(device, half):
            gap = (ours.float() - truth.float()).abs().max() / truth.float().abs().max()
            good = ours.shape == truth.shape and bool(gap <= limit)
            wrong += not good
            print(f"{'ok   ' if good else 'WRONG'} {name} {half}: {float(gap):.1e}")  # noqa: T201
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
