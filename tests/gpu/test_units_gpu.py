"""The public functions on a GPU: libraries, layouts, streams, threads, errors, memory."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import torch
from on_gpu import exact, needs_gpu, normal

import spire_dsu
from spire_dsu import reference, units
from spire_dsu.errors import InputError

pytestmark = needs_gpu


class OnlyInterface:
    """A device array of some library that knows nothing of DLPack."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return self.tensor.__cuda_array_interface__


def runs(n: int, d: int = 32, k: int = 40) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Frames with runs, their centroids, row splits."""
    c = normal(k, d)
    ids = torch.randint(0, k, (n // 3 + 1,), device="cuda").repeat_interleave(3)[:n]
    splits = np.sort(np.random.default_rng(n).integers(0, n + 1, 17))
    return c[ids] + 0.1 * normal(n, d, salt=1), c, np.concatenate([[0], splits, [n]])


def as_numpy(parts: tuple) -> list[list[int]]:
    return [
        part.tolist() if isinstance(part, np.ndarray) else part.cpu().tolist() for part in parts
    ]


def test_quantize_and_run_length_are_those_of_the_definition() -> None:
    for n in (1, 2, 500, 4095, 4096, 4097, 100_000):
        x, c, splits = runs(n)
        expected = as_numpy(reference.run_length(exact(x, c), splits))
        assert as_numpy(spire_dsu.quantize(x, splits, c)) == expected
        ids = spire_dsu.assign(x, c)
        assert ids.dtype == torch.int32
        assert ids.device == x.device
        assert as_numpy(spire_dsu.run_length(ids, torch.from_numpy(splits).cuda())) == expected
        assert as_numpy(spire_dsu.run_length(ids.long(), splits.tolist())) == expected


def test_no_frames() -> None:
    x, c = torch.empty(0, 8, device="cuda"), normal(5, 8)
    assert spire_dsu.assign(x, c).shape == (0,)
    assert as_numpy(spire_dsu.quantize(x, [0, 0, 0], c)) == [[], [], [0, 0, 0]]


def test_layouts() -> None:
    x, c = normal(300, 40), normal(60, 40, salt=1)
    truth = exact(x, c)
    wide = torch.zeros(300, 97, device="cuda")
    wide[:, 3:43] = x
    flat = torch.zeros(300 * 40 + 1, device="cuda")
    flat[1:] = x.flatten()
    for name, same in {
        "columns first": x.T.contiguous().T,
        "rows apart": wide[:, 3:43],
        "misaligned": flat[1:].view(300, 40),
        "backwards": x.flip(0).flip(0),
        "every other column": x.repeat_interleave(2, 1)[:, ::2],
        "with gradient": x.clone().requires_grad_(),
        "interface only": OnlyInterface(x),
    }.items():
        ids = spire_dsu.assign(same, c)
        np.testing.assert_array_equal(torch.as_tensor(ids).cpu().numpy(), truth, err_msg=name)
    one = x[:1].expand(50, 40)  # a stride of 0
    assert spire_dsu.assign(one, c).tolist() == [int(truth[0])] * 50


def test_cupy_in_cupy_out() -> None:
    cupy = pytest.importorskip("cupy")
    x, c, splits = runs(5000)
    expected = as_numpy(spire_dsu.quantize(x, splits, c))
    with cupy.cuda.Stream(non_blocking=True):
        parts = spire_dsu.quantize(cupy.from_dlpack(x), splits, cupy.from_dlpack(c))
        assert all(isinstance(part, cupy.ndarray) for part in parts)
        assert [part.get().tolist() for part in parts] == expected


def test_cupy_on_any_stream_and_in_any_layout() -> None:
    """A copy that a layout needs must come after what the caller queued, on the caller's stream."""
    cupy = pytest.importorskip("cupy")
    x, c = normal(20_000, 64), normal(300, 64, salt=1)
    truth = exact(x, c)
    for stream in (cupy.cuda.Stream.null, cupy.cuda.Stream(), cupy.cuda.Stream(non_blocking=True)):
        torch.cuda.synchronize()
        with stream:
            wide = cupy.zeros((20_000, 128), cupy.float32)
            for _ in range(20):  # keeps the stream busy
                wide += 1
            wide[:, ::2] = cupy.from_dlpack(x)
            assert spire_dsu.assign(wide[:, ::2], c).get().tolist() == truth.tolist()
            assert spire_dsu.assign(wide[:, ::2].T.copy().T, c).get().tolist() == truth.tolist()
            with pytest.raises(InputError, match="must not be negative"):
                spire_dsu.assign(wide[::-1], c)
    managed = cupy.ndarray(x.shape, cupy.float32, cupy.cuda.malloc_managed(x.nbytes))
    managed[:] = cupy.from_dlpack(x)
    assert cupy.asnumpy(spire_dsu.assign(managed, c)).tolist() == truth.tolist()


def test_locked_host_memory_is_host_memory() -> None:
    x, c = normal(50, 8).cpu().pin_memory(), normal(9, 8, salt=1)
    ids = spire_dsu.assign(x, c)
    assert ids.device.type == "cpu"
    assert ids.tolist() == exact(x, c).tolist()


def test_integers_of_every_width_are_ids() -> None:
    for dtype in (torch.uint8, torch.uint16, torch.int16, torch.uint32, torch.int64):
        ids = torch.tensor([3, 3, 5, 5, 5, 0], device="cuda").to(dtype)
        assert as_numpy(spire_dsu.run_length(ids, [0, 4, 6])) == [
            [3, 5, 5, 0],
            [2, 2, 1, 1],
            [0, 2, 4],
        ]


def test_another_device_than_the_current_one() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU here")
    x, c, splits = runs(3000)
    expected = as_numpy(spire_dsu.quantize(x, splits, c))
    there = x.to("cuda:1")
    for array in (there, OnlyInterface(there)):
        for centroids in (c, c.to("cuda:1"), units.Codebook(c)):
            parts = spire_dsu.quantize(array, splits, centroids)
            assert parts[0].get_device() == 1
            assert as_numpy(parts) == expected
    assert torch.cuda.current_device() == 0


def test_one_codebook_for_host_and_device() -> None:
    x, c = normal(200, 16), normal(30, 16, salt=1)
    book = units.Codebook(c.cpu().numpy())
    on_host, on_device = spire_dsu.assign(x.cpu(), book), spire_dsu.assign(x, book)
    assert on_host.tolist() == on_device.tolist()
    made_here = units.Codebook(c)
    c.zero_()  # it was copied
    assert spire_dsu.assign(x, made_here).tolist() == on_host.tolist()
    assert spire_dsu.assign(x.cpu(), made_here).tolist() == on_host.tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_row_is_named(bad: float) -> None:
    x, c, splits = runs(1000)
    x[700, 31] = x[999, 0] = bad
    with pytest.raises(InputError, match="features row 700"):
        spire_dsu.assign(x, c)
    with pytest.raises(InputError, match="features row 700"):
        spire_dsu.quantize(x.half(), splits, c)
    c[7, 3] = bad
    with pytest.raises(InputError, match="centroid 7"):
        units.Codebook(c)


def test_wrong_input_is_refused_by_name() -> None:
    x, c = normal(10, 8), normal(4, 8, salt=1)
    for features, centroids, message in [
        (x[0], c, "2-D"),
        (x.double(), c, "float64"),
        (x, c[:, :7].contiguous(), "8 wide, centroids 7"),
        (x, c.half(), "centroids must be float32"),
        (x, c[:0], r"\[0, 8\]"),
    ]:
        with pytest.raises(InputError, match=message):
            spire_dsu.assign(features, centroids)
    for splits in ([0, 9], [1, 10], [0, 7, 5, 10], [0, 11, 10]):
        with pytest.raises(InputError, match="row_splits"):
            spire_dsu.quantize(x, splits, c)


def blocks(n: int) -> list[tuple[torch.Tensor, list[int], bool]]:
    """The frames of `runs` as blocks that end anywhere, also inside a row."""
    x, _, splits = runs(n)
    rows = np.unique(splits).tolist()
    cuts = [0, *sorted(np.random.default_rng(3).integers(1, n, 9).tolist()), n]
    result = []
    for begin, end in itertools.pairwise(cuts):
        inner = [row - begin for row in rows if begin < row < end]
        result.append((x[begin:end], [0, *inner, end - begin], end not in rows))
    return result


def test_streaming_gives_what_the_whole_gives() -> None:
    n = 6000
    x, c, splits = runs(n)
    stream = units.StreamingQuantizer(c)
    done = [stream.push(*block[:2], last_row_continues=block[2]) for block in blocks(n)]
    done.append(stream.finish())
    whole = [part.cpu().numpy() for part in spire_dsu.quantize(x, np.unique(splits), c)]
    for i in range(2):
        np.testing.assert_array_equal(np.concatenate([part[i] for part in done]), whole[i])
    lengths = np.concatenate([np.diff(part[2]) for part in done])
    np.testing.assert_array_equal(lengths, np.diff(whole[2]))


def test_a_discretizer_on_the_gpu_quantises_there() -> None:
    mini = spire_dsu.Discretizer.from_pretrained("mini", device="cuda", precision="exact")
    waves = [0.1 * np.sin(np.arange(n) / 7, dtype=np.float32) for n in (30_000, 300, 16_000)]
    for wave, made in zip(waves, mini.encode(waves), strict=True):
        ids = exact(mini.encoder(wave), torch.tensor(mini.codebook.centroids))
        agreement = np.mean(ids == made.to_frames()) if ids.size else 1.0
        assert made.num_frames == ids.size
        assert agreement > 0.95  # features of a pack differ by rounding from those of one wave


def test_the_errors_of_a_stream_come_with_the_next_call() -> None:
    x, c, _ = runs(60)
    stream = units.StreamingQuantizer(c)
    bad = x.clone()
    bad[7, 0] = float("nan")
    stream.push(bad, [0, 60])
    with pytest.raises(InputError, match="features row 7"):
        stream.push(x, [0, 60])
    stream.push(x, [0, 60])
    assert as_numpy(stream.finish()) == as_numpy(spire_dsu.quantize(x, [0, 60], c))


def test_streams_and_threads_do_not_disturb_each_other() -> None:
    sets = [
        (normal(4000 + 100 * i, 64, salt=2 * i), normal(300, 64, salt=2 * i + 1)) for i in range(4)
    ]
    truths = [exact(x, c) for x, c in sets]
    failures: list[int] = []
    torch.cuda.synchronize()

    def work(i: int) -> None:
        x, c = sets[i]
        book = units.Codebook(c)
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(20):
                if not np.array_equal(spire_dsu.assign(x, book).cpu().numpy(), truths[i]):
                    failures.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_thousand_calls_do_not_grow() -> None:
    x, c, splits = runs(3000)
    book = units.Codebook(c)
    frames = [x, x.half(), x.bfloat16()]

    def call(times: int) -> int:
        for i in range(times):
            spire_dsu.quantize(frames[i % 3], splits, book)
        torch.cuda.synchronize()
        return torch.cuda.mem_get_info()[0]

    before = call(30)
    assert before - call(1000) < 4 << 20


def test_the_module_needs_no_torch() -> None:
    """`_cuda` takes any device array; here cupy's, and nothing of torch."""
    cupy = pytest.importorskip("cupy")
    from spire_dsu import _cuda

    x, c = cupy.from_dlpack(normal(500, 24)), cupy.from_dlpack(normal(50, 24, salt=1))
    book = _cuda.Codebook(c, stream=0)
    ids, faults = cupy.empty(500, cupy.int32), cupy.empty(3, cupy.int64)
    _cuda.assign(x, book, ids, faults, stream=0)
    _cuda.raise_faults(*faults.get().tolist())
    assert ids.get().tolist() == exact(torch.as_tensor(x), torch.as_tensor(c)).tolist()
    assert book.shape == (50, 24)
