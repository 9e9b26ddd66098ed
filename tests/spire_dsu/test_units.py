"""The public face of the kernels: array libraries, memory layouts, errors, threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from regimes import gmm, manifold, truth

import spire_dsu
from spire_dsu import units


def test_numpy_in_numpy_out() -> None:
    x, c = gmm(20, 5, 8)
    ids = spire_dsu.assign(x, c)
    assert type(ids) is np.ndarray
    assert ids.dtype == np.int32
    assert ids.shape == (20,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_torch_in_torch_out(dtype: torch.dtype) -> None:
    x, c = manifold(60, 90, 33)
    tensor = torch.from_numpy(x).to(dtype).requires_grad_()
    expected = truth(tensor.detach().float().numpy(), c)
    for centroids in (c, torch.from_numpy(c), units.Codebook(torch.from_numpy(c))):
        ids = spire_dsu.assign(tensor, centroids)
        assert isinstance(ids, torch.Tensor)
        assert ids.dtype == torch.int32
        np.testing.assert_array_equal(ids.numpy(), expected)
    parts = spire_dsu.quantize(tensor, torch.tensor([0, 30, 60]), c)
    assert all(isinstance(part, torch.Tensor) for part in parts)
    assert parts[2].dtype == torch.int64
    again = spire_dsu.run_length(torch.from_numpy(expected), torch.tensor([0, 30, 60]))
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


class OtherLibrary:
    """An array of some library: DLPack, and nothing else."""

    def __init__(self, array: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: object) -> object:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


def test_any_dlpack_array_is_taken() -> None:
    x, c = gmm(20, 5, 8)
    np.testing.assert_array_equal(spire_dsu.assign(OtherLibrary(x), OtherLibrary(c)), truth(x, c))


def test_a_device_that_is_neither_cpu_nor_cuda_is_refused() -> None:
    x, c = gmm(20, 5, 8)
    with pytest.raises(units.InputError, match="device 8"):
        spire_dsu.assign(OtherLibrary(x, (8, 0)), c)


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same values, laid out in memory in every way NumPy has."""
    wide = np.zeros((len(x), 2 * x.shape[1] + 3), np.float32)
    wide[:, 2 : 2 + x.shape[1]] = x
    every_other = np.repeat(x, 2, axis=1)[:, ::2]
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32)
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "fortran": np.asfortranarray(x),
        "rows apart": wide[:, 2 : 2 + x.shape[1]],
        "columns apart": every_other,
        "backwards": x[::-1].copy()[::-1],
        "columns backwards": x[:, ::-1].copy()[:, ::-1],
        "unaligned": unaligned.reshape(x.shape),
        "read only": read_only,
    }


def test_any_memory_layout() -> None:
    x, c = manifold(50, 70, 21)
    expected = truth(x, c)
    for (name, frames), centroids in zip(layouts(x).items(), layouts(c).values(), strict=True):
        assert np.array_equal(frames, x)
        np.testing.assert_array_equal(spire_dsu.assign(frames, c), expected, err_msg=name)
        np.testing.assert_array_equal(spire_dsu.assign(x, centroids), expected, err_msg=name)
    broadcast = np.broadcast_to(x[:1], (9, 21))  # a stride of zero
    assert spire_dsu.assign(broadcast, c).tolist() == [expected[0]] * 9


@pytest.mark.parametrize(
    ("features", "centroids", "message"),
    [
        (np.zeros((3, 4)), np.zeros((2, 4), np.float32), "float64"),
        (np.zeros((3, 4), np.uint16), np.zeros((2, 4), np.float32), "uint16"),
        (np.zeros((3, 4), ">f4"), np.zeros((2, 4), np.float32), ">f4"),
        (np.zeros(4, np.float32), np.zeros((2, 4), np.float32), "1 dim"),
        (np.zeros((3, 5), np.float32), np.zeros((2, 4), np.float32), "5 wide, centroids 4"),
        ([[0.0]], np.zeros((2, 1), np.float32), "list"),
        (np.zeros((3, 4), np.float32), np.zeros((2, 4)), "float64"),
        (np.zeros((3, 4), np.float32), np.zeros(4, np.float32), "1 dim"),
        (np.zeros((3, 4), np.float32), np.zeros((0, 4), np.float32), r"\[0, 4\]"),
        (np.zeros((3, 4), np.float32), np.zeros((65_536, 4), np.float32), "65536"),
        (np.zeros((3, 0), np.float32), np.zeros((2, 0), np.float32), r"\[2, 0\]"),
        (np.zeros((3, 8193), np.float32), np.zeros((2, 8193), np.float32), "8193"),
    ],
)
def test_what_is_refused_names_the_value(features: object, centroids: object, message: str) -> None:
    with pytest.raises(units.InputError, match=message):
        spire_dsu.assign(features, centroids)


def test_options_are_checked() -> None:
    x, c = gmm(3, 2, 4)
    with pytest.raises(units.InputError, match="at least 1, got 0"):
        spire_dsu.assign(x, c, threads=0)
    with pytest.raises(units.InputError, match="'sse9'"):
        spire_dsu.assign(x, c, isa="sse9")


def test_the_largest_sizes_are_taken() -> None:
    x = np.zeros((2, 8192), np.float32)
    x[1, 8191] = 1
    assert spire_dsu.assign(x, x[::-1].copy()).tolist() == [1, 0]
    many = np.arange(65_535, dtype=np.float32)[:, None]
    assert spire_dsu.assign(many[[0, 30_000, 65_534]], many).tolist() == [0, 30_000, 65_534]


def test_a_codebook_is_a_copy() -> None:
    x, c = gmm(30, 10, 4)
    expected = truth(x, c)
    codebook = units.Codebook(c)
    assert codebook.shape == (10, 4)
    c[:] = 0
    np.testing.assert_array_equal(spire_dsu.assign(x, codebook), expected)


def test_threads_follow_omp_num_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from spire_dsu import _core

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert _core.default_threads() == 3
    for nonsense in ("0", "many", "-2"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert _core.default_threads() >= 1


def test_sixteen_python_threads_at_once() -> None:
    """Each with its own batch, half of them through one codebook that is packed at that moment."""
    x, c = manifold(320, 300, 64)
    expected = truth(x, c)
    shared = units.Codebook(c)
    wrong: list[int] = []

    def work(index: int) -> None:
        part = slice(20 * index, 20 * index + 20)
        isa = units.available_isas()[index % len(units.available_isas())]
        for _ in range(5):
            ids = units.assign(x[part], shared if index % 2 else c, threads=2, isa=isa)
            if not np.array_equal(ids, expected[part]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
