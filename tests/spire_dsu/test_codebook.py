"""Codebooks on disk: what goes in comes out, same bytes each time, and nothing damaged passes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from spire_dsu.codebook import (
    MAX_CENTROIDS,
    MAX_FEATURES,
    digest_of,
    is_codebook_file,
    load_codebook,
    save_codebook,
)
from spire_dsu.errors import ModelError

CENTROIDS = np.random.default_rng(7).normal(size=(5, 3)).astype(np.float32)


def raw_safetensors(path: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(shape: list[int], dtype: str = "F32", size: int | None = None) -> dict[str, Any]:
    size = 4 * int(np.prod(shape)) if size is None else size
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}


def test_what_is_saved_loads(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "codebook.safetensors"
    saved = save_codebook(path, CENTROIDS, {"name": "five", "accent": "e\u0301"})
    loaded = load_codebook(path)
    np.testing.assert_array_equal(loaded.centroids, CENTROIDS, strict=True)
    assert loaded.centroids.flags.c_contiguous
    assert not loaded.centroids.flags.writeable
    assert loaded.metadata["name"] == "five"
    assert loaded.metadata["accent"] == "e\u0301"
    assert loaded.digest == saved.digest == load_codebook(CENTROIDS).digest
    assert load_codebook(loaded) is loaded


def test_the_safetensors_library_reads_what_we_write(tmp_path: Path) -> None:
    save_codebook(tmp_path / "a.safetensors", CENTROIDS)
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["centroids"], CENTROIDS)
    save_file({"centroids": CENTROIDS}, tmp_path / "b.safetensors", {"made": "by the library"})
    assert load_codebook(tmp_path / "b.safetensors").metadata == {"made": "by the library"}


def test_same_in_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.safetensors" for i in range(3)]
    save_codebook(files[0], CENTROIDS, {"a": "1", "b": "2"})
    save_codebook(files[1], np.asfortranarray(CENTROIDS), {"b": "2", "a": "1"})
    save_codebook(files[2], load_codebook(files[0]))
    assert len({f.read_bytes() for f in files}) == 1
    save_codebook(files[2], CENTROIDS, {"a": "1", "b": "3"})
    assert files[2].read_bytes() != files[0].read_bytes()


def test_a_write_leaves_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "codebook.safetensors"
    save_codebook(path, CENTROIDS)
    with pytest.raises(ModelError, match="metadata must be text, got 'a': 1"):
        save_codebook(path, CENTROIDS[:2], {"a": 1})  # type: ignore[dict-item]
    with pytest.raises(ModelError):
        save_codebook(path, CENTROIDS * np.nan)
    assert [p.name for p in tmp_path.iterdir()] == ["codebook.safetensors"]
    np.testing.assert_array_equal(load_codebook(path).centroids, CENTROIDS)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask  # others may read it


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "codebook.safetensors"
    save_codebook(path, CENTROIDS)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_codebook(path, CENTROIDS[:2])
    assert [p.name for p in tmp_path.iterdir()] == ["codebook.safetensors"]
    np.testing.assert_array_equal(load_codebook(path).centroids, CENTROIDS)


@pytest.mark.parametrize(
    "array",
    [
        CENTROIDS.astype(np.float64),
        np.asfortranarray(CENTROIDS),
        np.repeat(CENTROIDS, 2, axis=0)[::2],
        CENTROIDS.astype(">f4"),
        CENTROIDS.tolist(),
        torch.from_numpy(CENTROIDS.copy()),
        torch.from_numpy(CENTROIDS.copy()).double().requires_grad_(),
        torch.from_numpy(np.asfortranarray(CENTROIDS)),
    ],
    ids=["float64", "fortran", "strided", "big-endian", "list", "torch", "gradient", "torch-T"],
)
def test_any_array_of_floats_is_taken(array: Any) -> None:
    loaded = load_codebook(array)
    np.testing.assert_array_equal(loaded.centroids, CENTROIDS, strict=True)
    assert loaded.centroids.flags.c_contiguous
    assert loaded.digest == digest_of(CENTROIDS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    half = torch.from_numpy(CENTROIDS.copy()).to(dtype)
    np.testing.assert_array_equal(load_codebook(half).centroids, half.float().numpy())


def test_an_array_is_copied() -> None:
    mine = CENTROIDS.copy()
    loaded = load_codebook(mine)
    mine[:] = 0
    np.testing.assert_array_equal(loaded.centroids, CENTROIDS)


def test_npy_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "centers"
    with path.open("wb") as file:
        np.save(file, np.asfortranarray(CENTROIDS.astype(np.float64)))
    np.testing.assert_array_equal(load_codebook(path).centroids, CENTROIDS, strict=True)
    assert is_codebook_file(path)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 4), np.float32), ["(2, 3, 4)"]),
        (np.zeros(3, np.float32), ["(3,)"]),
        (np.float32(1), ["()"]),
        (np.zeros((0, 3), np.float32), ["(0, 3)"]),
        (np.zeros((3, 0), np.float32), ["(3, 0)"]),
        (np.zeros((MAX_CENTROIDS + 1, 1), np.float32), ["65536", "65535"]),
        (np.zeros((1, MAX_FEATURES + 1), np.float32), ["8193", "8192"]),
        (np.zeros((2, 2), np.int64), ["int64"]),
        (np.zeros((2, 2), np.complex64), ["complex64"]),
        (np.zeros((2, 2), np.longdouble), ["longdouble" if os.name == "nt" else "float128"]),
        (np.zeros((2, 2), bool), ["bool"]),
        (np.array([["a"]]), ["<U1"]),
        (np.array([[object()]]), ["object"]),
        (torch.zeros(2, 2, dtype=torch.int32), ["int32"]),
        ([[1.0, 2.0], [3.0]], ["list"]),
        (None, ["()"]),
        (np.array([[0, 1], [2, np.nan]], np.float32), ["centroid 1", "nan", "feature 1"]),
        (np.array([[0, 1], [-np.inf, 3]], np.float32), ["centroid 1", "-inf", "feature 0"]),
        (np.array([[1e39, 0]]), ["centroid 0", "1e+39", "float32"]),
    ],
)
def test_an_array_that_is_no_codebook_is_refused(array: Any, words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        load_codebook(array)
    for word in ["centroid", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"centers": entry([5, 3])}, bytes(60), ["'centers'"]),
        ({"centroids": entry([5, 3]), "b": entry([0], size=0)}, bytes(60), ["'b', 'centroids'"]),
        ({}, b"", ["[]"]),
        ({"centroids": entry([5, 3], "F16", 30)}, bytes(30), ["F16"]),
        ({"centroids": entry([5, 3], "F64", 120)}, bytes(120), ["F64"]),
        ({"centroids": entry([5, 3], "I32")}, bytes(60), ["I32"]),
        ({"centroids": entry([5, 3])}, bytes(59), ["safetensors"]),
        ({"centroids": entry([5, 3])}, bytes(64), ["safetensors"]),
        ({"centroids": entry([2**40, 2**40])}, bytes(60), ["safetensors"]),
        ({"centroids": entry([2**63, 1], size=60)}, bytes(60), ["safetensors"]),
        ({"centroids": entry([-5, 3])}, bytes(60), ["safetensors"]),
        ({"centroids": entry([15])}, bytes(60), ["(15,)"]),
        ({"centroids": entry([0, 3])}, b"", ["(0, 3)"]),
        ({"centroids": entry([1, 9000])}, bytes(36000), ["(1, 9000)"]),
        ({"centroids": entry([1, 1])}, b"\x00\x00\xc0\x7f", ["nan"]),
        (b'{"centroids":{"dtype":"F32"', bytes(60), ["safetensors"]),
        (b'{"centroids":' + b"[" * 300, bytes(60), ["safetensors"]),
        (b'{"\xff":1}', b"", ["safetensors"]),
        (b"{" + b" " * (2 << 20), b"", ["2097153 bytes"]),
    ],
)
def test_a_file_that_is_no_codebook_is_refused(
    tmp_path: Path, header: Any, data: bytes, words: list[str]
) -> None:
    path = raw_safetensors(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(ModelError) as caught:
        load_codebook(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "neither safetensors nor .npy"),
        (b"RIFF1234WAVE", "b'RIFF1234W'"),
        (b"\x80\x04\x95\x00\x00\x00", "import-codebook"),
        (b"\x78\x9c\x00\x00", "import-codebook"),
        (b"\x1f\x8b\x08\x00", "import-codebook"),
        (b"\xfd7zXZ\x00", "import-codebook"),
        (b"BZh9", "import-codebook"),
        (b"PK\x03\x04", "zip archive"),
        (b"\x93NUMPY\x01\x00\x00\x00", ".npy"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}", ".npy"),
        (b"\xff" * 16, "neither"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "4611686018427387904"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_codebook(path)
    assert str(path) in str(caught.value)
    assert word in str(caught.value)


def test_npy_with_objects_or_a_lying_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(ModelError, match="objects"):
        load_codebook(path)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
        )
    with pytest.raises(ModelError, match="npy"):
        load_codebook(path)


def test_what_is_no_file_is_told_and_never_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such codebook file"):
        load_codebook(tmp_path / "absent")
    with pytest.raises(ModelError, match="not a regular file"):
        load_codebook(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="not a regular file"):
        load_codebook(tmp_path / "pipe")


def test_expected_sizes_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_codebook(path, CENTROIDS)
    assert load_codebook(path, num_centroids=5, num_features=3).centroids.shape == (5, 3)
    with pytest.raises(ModelError, match="K = 5, but K = 6 is needed"):
        load_codebook(path, num_centroids=6)
    with pytest.raises(ModelError, match="D = 3, but D = 1024 is needed"):
        load_codebook(path, num_features=1024)


def test_the_digest_is_that_of_the_values() -> None:
    # printf 'float32 1 2\n\0\0\200\077\0\0\0\300' | sha256sum
    one = np.array([[1.0, -2.0]], np.float32)
    assert digest_of(one) == "6e5125a99d34676562f4c11ed52a2cb99fed109346da2c94cbdc7c3586f00de7"
    others = [one.T, -one, np.array([[1.0, np.nextafter(np.float32(-2), np.float32(0))]])]
    assert len({load_codebook(o).digest for o in [one, *others]}) == 4


@settings(max_examples=150, deadline=None)
@given(
    centroids=arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    place=st.integers(0, 10_000),
    value=st.integers(0, 255),
)
def test_a_changed_byte_gives_an_error_or_another_digest(
    tmp_path_factory: pytest.TempPathFactory, centroids: Any, place: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    saved = save_codebook(path, centroids, {"note": "n"})
    data = bytearray(path.read_bytes())
    place %= len(data)
    if data[place] == value:
        return
    data[place] = value
    path.write_bytes(data)
    try:
        loaded = load_codebook(path)
    except ModelError:
        return
    # The header's spare parts (blanks, metadata) may change without harm; values may not unnoticed.
    header = 8 + int.from_bytes(data[:8], "little")
    assert (loaded.digest != saved.digest) == (place >= header) or loaded.centroids.shape != (
        centroids.shape
    )


def test_large_files_of_the_library_load(tmp_path: Path) -> None:
    big = torch.randn(5000, 64)
    save_torch({"centroids": big}, tmp_path / "big.safetensors")
    np.testing.assert_array_equal(
        load_codebook(tmp_path / "big.safetensors").centroids, big.numpy(), strict=True
    )
