"""The kernels of the packed pass on a GPU; what each means is in `kernels_torch`.

Every kernel has one program for each block of rows and adds up in float32 in an order that depends
on nothing but the row's own utterance, so that features do not depend on the neighbours.

Without a GPU they run in Triton's interpreter (TRITON_INTERPRET=1, set before this is imported).
"""

# What a compiled function takes is Triton's to say: it refuses annotations but constexpr.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812, its common name
import triton
import triton.language as tl
from torch import Tensor

from spire_dsu.hubert.packing import QUERIES

_SAMPLES = 4096  # of an utterance at a time, while its mean and variance are added up
_LOG2_E = tl.constexpr(1.4426950408889634)

# Tiles of the product: 128 x 256 with two warpgroups is what Hopper's matrix units want; K in
# steps of 64 halves is one 128-byte line. GPUs without the 144 KiB of shared memory that it takes
# have 128 x 128; small products take small tiles, also to interpret them.
LARGE = {"BM": 128, "BN": 256, "BK": 64, "num_warps": 8, "num_stages": 3}
_MEDIUM = {"BM": 128, "BN": 128, "BK": 64, "num_warps": 8, "num_stages": 3}
_SMALL = {"BM": 32, "BN": 32, "BK": 32, "num_warps": 4, "num_stages": 2}


@triton.jit
def _gelu(x):
    """The exact GELU, x * Phi(x), as x / (1 + 2^(-x p(x^2))): 15 instructions, where erf takes 32.

    log2(Phi(x) / Phi(-x)) = x p(x^2) is smooth and odd. The coefficients are a minimax fit of ours
    for |x| < 5.5: the relative error stays under 8e-5, a sixth of float16's rounding, down to
    results of 2^-14. Beyond 5.5, p stays positive, and GELU is x or 0.
    """
    u = x * x
    p = 2.236238527686396e-09 * u - 2.0543762957458966e-07
    p = p * u + 7.36622041586088e-06
    p = p * u - 1.1551985517144203e-04
    p = p * u - 3.2149613252840936e-04
    p = p * u + 1.05332151055336e-01
    p = p * u + 2.301900863647461
    return x / (1.0 + tl.exp2(-x * p))


@triton.jit
def _moments(stream, extents, given, found, eps, BLOCK: tl.constexpr):
    utterance = tl.program_id(0)
    start = tl.load(extents + 2 * utterance).to(tl.int64)
    length = tl.load(extents + 2 * utterance + 1)
    mean = tl.load(given + 2 * utterance).to(tl.float64)
    factor = tl.load(given + 2 * utterance + 1).to(tl.float64)
    if length > 0:
        offsets = tl.arange(0, BLOCK)
        total = tl.zeros((BLOCK,), tl.float64)
        squares = tl.zeros((BLOCK,), tl.float64)
        for first in range(0, length, BLOCK):
            inside = first + offsets < length
            x = tl.load(stream + start + first + offsets, mask=inside, other=0.0).to(tl.float64)
            total += x
            squares += x * x
        mean = tl.sum(total, 0) / length
        variance = tl.sum(squares, 0) / length - mean * mean
        factor = 1.0 / tl.sqrt(tl.maximum(variance, 0.0) + eps)
    tl.store(found + 2 * utterance, mean.to(tl.float32))
    tl.store(found + 2 * utterance + 1, factor.to(tl.float32))


def moments(stream_S: Tensor, extents_N2: Tensor, given_N2: Tensor, eps: float) -> Tensor:
    """See `kernels_torch.moments`."""
    found = torch.empty_like(given_N2)
    grid = (len(extents_N2),)
    _moments[grid](stream_S, extents_N2, given_N2, found, eps, BLOCK=_SAMPLES, num_warps=8)
    return found


@triton.jit
def _first_layer(
    stream, moments, owners, weight, root, shift, out,
    count, slots, channels, rows_a_slot, eps,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, WIDTH: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    real = rows < count
    columns = tl.arange(0, WIDTH)
    owner = tl.load(owners + tl.minimum(rows // rows_a_slot, slots - 1))
    mean = tl.load(moments + 2 * owner)
    factor = tl.load(moments + 2 * owner + 1)
    places = stream + rows.to(tl.int64)[:, None] * STRIDE + columns[None, :]
    x = tl.load(places, mask=real[:, None] & (columns < KERNEL)[None, :], other=0.0)
    x = (x - mean[:, None]) * factor[:, None]
    ones = (columns == KERNEL).to(tl.float32)[None, :]
    x = tl.where((columns < KERNEL)[None, :], x, ones)
    square = tl.arange(0, WIDTH)
    r = tl.load(root + square[:, None] * WIDTH + columns[None, :])
    spread = tl.dot(x, r, input_precision="ieee")
    variance = tl.sum(spread * spread, 1)
    x = (x * tl.rsqrt(variance + eps)[:, None]).to(weight.dtype.element_ty)
    for first in range(0, channels, BN):
        channel = first + tl.arange(0, BN)
        known = channel < channels
        w = tl.load(
            weight + channel[None, :] * WIDTH + columns[:, None], mask=known[None, :], other=0.0
        )
        y = _gelu(tl.dot(x, w) + tl.load(shift + channel, mask=known, other=0.0)[None, :])
        target = out + rows.to(tl.int64)[:, None] * channels + channel[None, :]
        tl.store(target, y.to(out.dtype.element_ty), mask=real[:, None] & known[None, :])


def first_layer(
    stream_S: Tensor,
    moments_N2: Tensor,
    utterance_of_slot: Tensor,
    weight_CK: Tensor,
    root_KK: Tensor,
    shift_C: Tensor,
    kernel: int,
    stride: int,
    rows_a_slot: int,
    eps: float,
) -> Tensor:
    """See `kernels_torch.first_layer`; weight_CK and root_KK are a power of two from 16 on wide."""
    count, (channels, width) = (len(stream_S) - kernel) // stride + 1, weight_CK.shape
    out = weight_CK.new_empty(count, channels)
    rows = 128
    _first_layer[(triton.cdiv(count, rows),)](
        stream_S, moments_N2, utterance_of_slot, weight_CK, root_KK, shift_C, out,
        count, len(utterance_of_slot), channels, rows_a_slot, eps,
        KERNEL=kernel, STRIDE=stride, WIDTH=width, BM=rows, BN=64, num_warps=4,
    )  # fmt: skip
    return out


def linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """See `kernels_torch.linear`: cuBLAS, whose epilogue adds the bias."""
    return F.linear(rows, weight, bias)


@triton.jit
def _product(
    a, b, bias, c, used, M, N, K,
    a_row, a_group, GELU: tl.constexpr, EVEN: tl.constexpr, LIMITED: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    # Neighbouring programs share rows of `a`, which is the larger operand: all columns, then on.
    columns = tl.cdiv(N, BN)
    first_row = tl.program_id(0) // columns * BM
    first_column = tl.program_id(0) % columns * BN
    if LIMITED:  # noqa: SIM102, known when compiled
        if first_row >= tl.load(used):
            return
    group = tl.program_id(1).to(tl.int64)
    row, col, steps = tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    # What lies beyond the edge is read from the edge and not written. Within a tile, 32 bits do.
    left_rows, left_columns = M - first_row, N - first_column
    near = tl.minimum(col, left_columns - 1)
    a += group * a_group + first_row.to(tl.int64) * a_row
    b += (group * N + first_column) * K
    a_at = tl.minimum(row, left_rows - 1)[:, None] * a_row + steps[None, :]
    b_at = near[None, :] * K + steps[:, None]
    acc = tl.zeros((BM, BN), tl.float32)
    tl.assume(K > 0)  # or ptxas has each product of a step wait for the one before
    for k in range(0, K, BK):
        if EVEN:
            x, y = tl.load(a + a_at), tl.load(b + b_at)
        else:
            rest = steps < K - k
            x = tl.load(a + a_at, mask=rest[None, :], other=0.0)
            y = tl.load(b + b_at, mask=rest[:, None], other=0.0)
        acc = tl.dot(x, y, acc)
        a += BK
        b += BK
    acc += tl.load(bias + group * N + first_column + near).to(tl.float32)[None, :]
    if GELU:
        acc = _gelu(acc)
    c += (group * M + first_row) * N + first_column
    inside = (row < left_rows)[:, None] & (col < left_columns)[None, :]
    tl.store(c + row[:, None] * N + col[None, :], acc.to(c.dtype.element_ty), mask=inside)


def _is_short_of_room(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    found = torch.cuda.get_device_properties(device)
    return getattr(found, "shared_memory_per_block_optin", 0) < 147_456


def product(rows: Tensor, weight: Tensor, bias: Tensor, gelu: bool, used: Tensor | None) -> Tensor:
    """See `kernels_torch.product`."""
    grouped = rows.dim() == 3
    count, (width_out, width_in) = rows.shape[-2], weight.shape[-2:]
    out = rows.new_empty(*rows.shape[:-1], width_out)
    tile = _SMALL if width_out < 256 else _MEDIUM if _is_short_of_room(rows.device) else LARGE
    grid = (
        triton.cdiv(count, tile["BM"]) * triton.cdiv(width_out, tile["BN"]),
        len(rows) if grouped else 1,
    )
    _product[grid](
        rows, weight, bias, out, bias if used is None else used, count, width_out, width_in,
        rows.stride(-2), rows.stride(0) if grouped else 0,
        GELU=gelu, EVEN=width_in % tile["BK"] == 0, LIMITED=used is not None, **tile,
    )  # fmt: skip
    return out


@triton.jit
def _norm(
    source, first, second, index, weight, bias, out, count, width,
    eps, ADD: tl.constexpr, GATHER: tl.constexpr, GELU: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, WIDTH)
    known = columns < width
    mask = (rows < count)[:, None] & known[None, :]
    origin = rows
    if GATHER:
        origin = tl.load(index + rows, mask=rows < count, other=0)
    at = origin.to(tl.int64)[:, None] * width + columns[None, :]
    x = tl.load(source + at, mask=mask, other=0.0).to(tl.float32)
    if ADD > 0:
        x += tl.load(first + at, mask=mask, other=0.0).to(tl.float32)
    if ADD > 1:
        x += tl.load(second + at, mask=mask, other=0.0).to(tl.float32)
        tl.store(source + at, x, mask=mask)
    mean = tl.sum(x, 1) / width
    x = tl.where(known[None, :], x - mean[:, None], 0.0)
    variance = tl.sum(x * x, 1) / width
    gain = tl.load(weight + columns, mask=known, other=0.0)[None, :]
    shift = tl.load(bias + columns, mask=known, other=0.0)[None, :]
    y = x * tl.rsqrt(variance + eps)[:, None] * gain + shift
    if GELU:
        y = _gelu(y)
    target = out + rows.to(tl.int64)[:, None] * width + columns[None, :]
    tl.store(target, y.to(out.dtype.element_ty), mask=mask)


def _launch_norm(
    source: Tensor, added: tuple[Tensor, ...], index: Tensor | None, weight: Tensor, bias: Tensor,
    out: Tensor, eps: float, gelu: bool,
) -> None:  # fmt: skip
    count, width = out.shape
    padded = triton.next_power_of_2(width)
    rows = max(1, 4096 // padded)
    first, second = (*added, source, source)[:2]
    _norm[(triton.cdiv(count, rows),)](
        source, first, second, source if index is None else index, weight, bias, out, count, width,
        eps, ADD=len(added), GATHER=index is not None, GELU=gelu, ROWS=rows, WIDTH=padded,
        num_warps=4,
    )  # fmt: skip


def norm_gelu(rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """See `kernels_torch.norm_gelu`; overwrites `rows`."""
    _launch_norm(rows, (), None, weight, bias, rows, eps, gelu=True)
    return rows


def norm(
    rows: Tensor, index: Tensor | None, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> Tensor:
    """See `kernels_torch.norm`."""
    count = len(rows) if index is None else len(index)
    out = torch.empty(count, rows.shape[1], dtype=dtype, device=rows.device)
    _launch_norm(rows, (), index, weight, bias, out, eps, gelu=False)
    return out


def sum_norm(state: Tensor, first: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """See `kernels_torch.sum_norm`."""
    out = torch.empty_like(first)
    _launch_norm(state, (first,), None, weight, bias, out, eps, gelu=False)
    return out


def add_norm(
    state: Tensor, first: Tensor, second: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """See `kernels_torch.add_norm`."""
    out = torch.empty_like(first)
    _launch_norm(state, (first, second), None, weight, bias, out, eps, gelu=False)
    return out


@triton.jit
def _spaced(
    rows, index, out, places, width, size,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, WIDTH)
    real = place < places
    mask = real[:, None] & (columns < width)[None, :]
    group = tl.program_id(1).to(tl.int64)
    origin = tl.load(index + place, mask=real, other=-1).to(tl.int64)
    at = rows + origin[:, None] * size + group * width + columns[None, :]
    x = tl.load(at, mask=mask & (origin >= 0)[:, None], other=0.0)
    tl.store(out + (group * places + place[:, None]) * width + columns[None, :], x, mask=mask)


def spaced(rows: Tensor, row_of_spaced: Tensor, groups: int) -> Tensor:
    """See `kernels_torch.spaced`."""
    places, size = len(row_of_spaced), rows.shape[1]
    width = size // groups
    out = rows.new_empty(groups, places, width)
    padded = triton.next_power_of_2(width)
    block = max(1, 4096 // padded)
    _spaced[(triton.cdiv(places, block), groups)](
        rows, row_of_spaced, out, places, width, size, ROWS=block, WIDTH=padded, num_warps=4
    )
    return out


@triton.jit
def _add_spaced(
    rows, made, index, out, places, width, size,
    WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    mask = columns < size
    place = tl.load(index + row)
    at = made + (columns // width).to(tl.int64) * places * width + place * width + columns % width
    x = tl.load(rows + row * size + columns, mask=mask, other=0.0).to(tl.float32)
    x += tl.load(at, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + row * size + columns, x, mask=mask)


def add_spaced(rows: Tensor, made: Tensor, spaced_of_row: Tensor) -> Tensor:
    """See `kernels_torch.add_spaced`."""
    count, size = rows.shape
    out = torch.empty(count, size, dtype=torch.float32, device=rows.device)
    _add_spaced[(count,)](
        rows, made, spaced_of_row, out, made.shape[1], made.shape[2], size,
        WIDTH=triton.next_power_of_2(size), num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
def _attend(
    q, keys, values, rest, stride, columns, known,
    top, total, acc, MASKED: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """One block of keys: the running maximum, the sum of exponents, and what they weigh."""
    rows = tl.arange(0, BN)
    at_k, at_v = (
        rows[None, :] * stride + columns[:, None],
        rows[:, None] * stride + columns[None, :],
    )
    if MASKED:
        inside = rows < rest
        k = tl.load(keys + at_k, mask=known[:, None] & inside[None, :], other=0.0)
        v = tl.load(values + at_v, mask=known[None, :] & inside[:, None], other=0.0)
    else:
        k = tl.load(keys + at_k, mask=known[:, None], other=0.0)
        v = tl.load(values + at_v, mask=known[None, :], other=0.0)
    scores = tl.dot(q, k)
    if MASKED:
        scores = tl.where(inside[None, :], scores, float("-inf"))
    higher = tl.maximum(top, tl.max(scores, 1) * _LOG2_E)
    shares = tl.exp2(scores * _LOG2_E - higher[:, None])  # one instruction for both
    shrink = tl.exp2(top - higher)
    total = total * shrink + tl.sum(shares, 1)
    acc = tl.dot(shares.to(v.dtype), v, acc * shrink[:, None])
    return higher, total, acc


@triton.jit
def _attention(
    qkv, tiles, out, size, head_size,
    BM: tl.constexpr, BN: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    head = tl.program_id(1)
    query = tl.load(tiles + 3 * tile)
    start = tl.load(tiles + 3 * tile + 1)
    stop = tl.load(tiles + 3 * tile + 2)
    if stop == start:
        return
    columns, rows = tl.arange(0, WIDTH), tl.arange(0, BM)
    known = columns < head_size
    real = (rows < stop - query)[:, None] & known[None, :]
    stride = 3 * size
    own = qkv + head * head_size
    q = own + query.to(tl.int64) * stride + rows[:, None] * stride + columns[None, :]
    q = tl.load(q, mask=real, other=0.0)
    keys = own + size + start.to(tl.int64) * stride
    values = keys + size
    top = tl.full((BM,), float("-inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, WIDTH), tl.float32)
    count = stop - start
    whole = count // BN * BN
    for _ in range(0, whole, BN):
        top, total, acc = _attend(
            q, keys, values, BN, stride, columns, known, top, total, acc, False, BN
        )
        keys += BN * stride
        values += BN * stride
    if whole < count:
        top, total, acc = _attend(
            q, keys, values, count - whole, stride, columns, known, top, total, acc, True, BN
        )
    target = out + query.to(tl.int64) * size + head * head_size
    target += rows[:, None] * size + columns[None, :]
    tl.store(target, (acc / total[:, None]).to(out.dtype.element_ty), mask=real)


def attention(qkv: Tensor, tiles: Tensor, heads: int) -> Tensor:
    """See `kernels_torch.attention`; rows of nobody are not written."""
    count, size = qkv.shape[0], qkv.shape[1] // 3
    out = qkv.new_empty(count, size)
    _attention[(len(tiles), heads)](
        qkv, tiles, out, size, size // heads,
        BM=QUERIES, BN=64, WIDTH=max(16, triton.next_power_of_2(size // heads)),
        num_warps=4, num_stages=3,
    )  # fmt: skip
    return out
