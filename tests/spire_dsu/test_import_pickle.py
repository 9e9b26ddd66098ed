"""Real k-means files, as scikit-learn, joblib and numpy write them, and the reader's own laws."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans, MiniBatchKMeans
from unit_rows import MULTIPLIER

import spire_dsu.import_pickle as door
from spire_dsu.codebook import load_codebook
from spire_dsu.errors import ModelError
from spire_dsu.import_pickle import import_codebook
from spire_dsu.import_pickle.child import find_centroids, write_array
from spire_dsu.import_pickle.containers import find_unpacker, unpack
from spire_dsu.import_pickle.machine import Machine
from spire_dsu.import_pickle.source import RefusedError, Source

POINTS = np.random.default_rng(5).normal(size=(200, 6))
PROTOCOLS = (2, 3, 4, 5)
RANDOM_STATES = {
    "none": lambda: None,
    "seed": lambda: 3,
    "state": lambda: np.random.RandomState(3),
    "sequence": lambda: np.random.RandomState(np.random.MT19937(np.random.SeedSequence(3))),
}


def fitted(kind: type = KMeans, dtype: type = np.float64, state: str = "seed") -> Any:
    return kind(7, n_init=1, random_state=RANDOM_STATES[state]()).fit(POINTS.astype(dtype))


def in_process(data: bytes) -> np.ndarray[Any, Any]:
    """Reads a bare pickle with the reader alone, without the walls around it."""
    source, out = Source(io.BytesIO(data), len(data)), io.BytesIO()
    array = find_centroids(Machine(source).run()).array
    write_array(array, source, out)
    flat = np.frombuffer(out.getvalue(), array.dtype)
    return flat.reshape(array.shape, order=array.order)  # type: ignore[call-overload,no-any-return]


def imported(path: Path, out: Path) -> np.ndarray[Any, Any]:
    assert import_codebook(path, out, trust_pickle=True) == out
    return load_codebook(out).centroids


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_a_joblib_file_gives_its_centroids(tmp_path: Path, compress: Any) -> None:
    model = fitted(MiniBatchKMeans, np.float32, "state")
    joblib.dump(model, tmp_path / "km", compress=compress)
    found = imported(tmp_path / "km", tmp_path / "out.safetensors")
    np.testing.assert_array_equal(found, model.cluster_centers_, strict=True)


@pytest.mark.parametrize("state", RANDOM_STATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_every_protocol_gives_every_bit(kind: type, dtype: type, state: str) -> None:
    model = fitted(kind, dtype, state)
    for protocol in PROTOCOLS:
        file = io.BytesIO()
        joblib.dump(model, file, protocol=protocol)
        for data in (file.getvalue(), pickle.dumps(model, protocol)):
            np.testing.assert_array_equal(in_process(data), model.cluster_centers_, strict=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_long_arrays_stay_in_the_file(protocol: int) -> None:
    # Over the size that is read at once; of every byte value, which protocol 2 writes as text.
    centers = np.random.default_rng(1).normal(size=(300, 40))
    model = fitted()
    model.cluster_centers_ = centers
    for stored in (centers, np.asfortranarray(centers), centers.astype(">f8"), centers[::2]):
        model.cluster_centers_ = stored
        file = io.BytesIO()
        joblib.dump(model, file, protocol=protocol)
        np.testing.assert_array_equal(in_process(pickle.dumps(model, protocol)), stored)
        np.testing.assert_array_equal(in_process(file.getvalue()), stored)


def test_the_whole_way_for_fortran_order_and_big_endian(tmp_path: Path) -> None:
    model = fitted()
    for stored in (np.asfortranarray(model.cluster_centers_), model.cluster_centers_.astype(">f4")):
        model.cluster_centers_ = stored
        joblib.dump(model, tmp_path / "km")
        found = imported(tmp_path / "km", tmp_path / "out.safetensors")
        np.testing.assert_array_equal(found, stored.astype(np.float32))


def test_files_of_other_versions(tmp_path: Path) -> None:
    # Names and attributes that older scikit-learn, numpy and joblib wrote.
    model = fitted()
    model.__dict__.update(precompute_distances="auto", n_jobs=None, counts_=np.ones(7, np.int32))
    model.__dict__["random_state_"] = np.random.RandomState(1)
    joblib.dump(model, tmp_path / "km", protocol=3)
    data = (tmp_path / "km").read_bytes()
    renamed = data
    for new, old in (
        (b"csklearn.cluster._kmeans\n", b"csklearn.cluster.k_means_\n"),
        (b"cjoblib.numpy_pickle\n", b"csklearn.externals.joblib.numpy_pickle\n"),
        (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"),
    ):
        assert new in renamed
        renamed = renamed.replace(new, old)
    np.testing.assert_array_equal(in_process(renamed), model.cluster_centers_)


def test_arrays_without_padding_are_read() -> None:
    class Unseekable(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    file, model = Unseekable(), fitted()
    joblib.dump(model, file)  # writes no padding where it cannot know the position
    np.testing.assert_array_equal(in_process(file.getvalue()), model.cluster_centers_)


def test_a_mapped_array_and_a_bare_array(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "m", np.float32, "w+", shape=(3, 4))
    mapped[:] = np.arange(12).reshape(3, 4)
    model = fitted()
    model.cluster_centers_ = mapped
    for protocol in PROTOCOLS:
        np.testing.assert_array_equal(in_process(pickle.dumps(model, protocol)), mapped)
        np.testing.assert_array_equal(in_process(pickle.dumps(np.array(mapped), protocol)), mapped)
    joblib.dump(model, tmp_path / "km")
    np.testing.assert_array_equal(in_process((tmp_path / "km").read_bytes()), mapped)


def test_the_codebook_says_where_it_comes_from(tmp_path: Path) -> None:
    joblib.dump(fitted(), tmp_path / "km")
    for out in ("a.safetensors", "b.safetensors"):
        import_codebook(tmp_path / "km", tmp_path / out, trust_pickle=True)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    metadata = load_codebook(tmp_path / "a.safetensors").metadata
    digest = hashlib.sha256((tmp_path / "km").read_bytes()).hexdigest()
    assert metadata["source_sha256"] == digest
    assert metadata["source"] == "km"
    assert metadata["source_dtype"] == "<f8"
    assert metadata["made_by"].startswith("sklearn.cluster._kmeans.KMeans ")


def test_without_trust_nothing_is_even_opened(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="trust_pickle=True") as caught:
        import_codebook(tmp_path / "absent", tmp_path / "out", trust_pickle=False)
    assert "can run any code" in str(caught.value)
    assert str(tmp_path / "absent") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_by_its_own_codebook(tmp_path: Path) -> None:
    joblib.dump(fitted(), tmp_path / "km")
    before = (tmp_path / "km").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "km")
    for out in ("km", "link"):
        with pytest.raises(ModelError, match="name another --out"):
            import_codebook(tmp_path / "km", tmp_path / out, trust_pickle=True)
    assert (tmp_path / "km").read_bytes() == before


def test_a_model_that_was_never_fitted_is_told(tmp_path: Path) -> None:
    joblib.dump(KMeans(3), tmp_path / "km")
    with pytest.raises(ModelError, match="never fitted"):
        import_codebook(tmp_path / "km", tmp_path / "out", trust_pickle=True)


def test_neither_sklearn_nor_joblib_nor_numpy_is_in_the_reading_process(tmp_path: Path) -> None:
    joblib.dump(fitted(), tmp_path / "km", compress=3)
    entry = Path(door.__file__).with_name("__main__.py")
    limits = json.dumps({"memory_bytes": 1 << 29, "cpu_seconds": 20, "file_bytes": 1 << 30})
    with (tmp_path / "km").open("rb") as source, (tmp_path / "scratch").open("w+b") as scratch:
        script = (
            f"import runpy, sys; sys.argv[1:] = [{limits!r}, '{scratch.fileno()}'];"
            f"runpy.run_path({str(entry)!r}, run_name='__main__'); print(sorted(m for m in"
            " sys.modules if m.split('.')[0] in ('numpy', 'sklearn', 'joblib', 'torch', 'pickle',"
            " '_pickle')), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", script],
            stdin=source,
            capture_output=True,
            pass_fds=[scratch.fileno()],
            timeout=900,
            check=False,
        )
    assert done.stderr == b"[]\n"
    assert b'"shape": [7, 6]' in done.stdout


# -- laws of the reader


def plain_data() -> st.SearchStrategy[Any]:
    leaves = (
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.binary(max_size=20)
        | st.integers(-(2**2000), 2**2000) | st.text(max_size=20)
    )  # fmt: skip
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=12,
    )


@given(plain_data(), st.sampled_from(PROTOCOLS))
def test_plain_data_read_as_the_standard_unpickler_reads_them(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert Machine(Source(io.BytesIO(data), len(data))).run() == pickle.loads(data) == value


JOBLIB = io.BytesIO()
joblib.dump(fitted(state="state"), JOBLIB)
WHOLE = {"joblib": JOBLIB.getvalue(), "pickle": pickle.dumps(fitted(state="sequence"), 4)}


@pytest.mark.parametrize("made_by", WHOLE)
def test_every_beginning_of_a_file_is_refused(made_by: str) -> None:
    data = WHOLE[made_by]
    for length in range(0, len(data), 7):
        with pytest.raises(RefusedError):
            in_process(data[:length])


@settings(max_examples=100 * MULTIPLIER, deadline=None)
@given(
    made_by=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(
        st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=3)), max_size=4
    ),
)
def test_a_damaged_file_is_refused_or_gives_an_array(
    made_by: str, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(WHOLE[made_by])
    for place, value in changes:
        place %= len(data)
        data[place : place + len(value)] = value
    try:
        found = in_process(bytes(data))
    except RefusedError:
        return
    assert found.ndim == 2


@settings(max_examples=100 * MULTIPLIER, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(RefusedError):
        in_process(b"\x80\x04" + body)


# -- compression


def test_lz4_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    file = io.BytesIO()
    joblib.dump(fitted(state="state"), file)
    path = tmp_path / "km.lz4"
    path.write_bytes(pa.compress(file.getvalue(), codec="lz4", asbytes=True))
    with pytest.raises(ModelError, match=r"LZ4.*joblib\.dump\(model, path, compress=3\)"):
        imported(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_unpacks_to_more_than_its_share_is_stopped_early() -> None:
    packed = zlib.compress(bytes(80 << 20), 1)
    found = find_unpacker(packed)
    assert found is not None
    out = io.BytesIO()
    with pytest.raises(RefusedError, match="unpack to over 67108864"):
        unpack(*found, io.BytesIO(packed), len(packed), out)
    assert len(out.getvalue()) <= 64 << 20


# -- what the reading process says


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "no report"),
        (b"\x00" * 8, "no report"),
        (b"{}" + (1 << 40).to_bytes(8, "little"), "no report"),
        ({"error": "because"}, "because"),
        ({"shape": [2, -1], "dtype": "<f8", "order": "C"}, "must be at least"),
        ({"shape": [2, True], "dtype": "<f8", "order": "C"}, "shape"),
        ({"shape": [2, 3], "dtype": "O", "order": "C"}, "type 'O'"),
        ({"shape": [2, 3], "dtype": "<f8", "order": "K"}, "order 'K'"),
        ({"shape": [2, 3], "dtype": "<f8", "order": "C"}, "has 48"),
        ({"shape": [65_535, 9_000], "dtype": "<f8", "order": "C"}, "at most"),
    ],
)
def test_what_the_reading_process_says_is_not_trusted(answer: Any, words: str) -> None:
    if isinstance(answer, dict):
        line = json.dumps(answer).encode()
        answer = b"12345678" + line + len(line).to_bytes(8, "little")
    with pytest.raises(ModelError, match=words):
        door._checked_answer(io.BytesIO(answer), Path("km"))
