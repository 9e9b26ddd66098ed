"""Speech in, units out: the public API, on the bundled miniature."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import spire_dsu
from spire_dsu import AudioError, Discretizer, InputError, ModelError, Reason, Units, reference
from spire_dsu import discretizer as module
from spire_dsu.codebook import load_codebook
from spire_dsu.demo import DEMO_AUDIO
from spire_dsu.types import num_frames


@pytest.fixture(scope="module")
def mini() -> Discretizer:
    return Discretizer.from_pretrained("mini", device="cpu")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    samples, rate = soundfile.read(DEMO_AUDIO, dtype="float32")
    assert rate == 16_000
    return samples


def test_one_array_gives_units_and_a_list_gives_a_list(
    mini: Discretizer, speech: np.ndarray
) -> None:
    one = mini.encode(speech)
    assert isinstance(one, Units)
    assert one.num_frames == num_frames(speech.size)
    assert one.ids.dtype == one.durations.dtype == np.int32
    assert one.ids.min() >= 0
    assert one.ids.max() < mini.num_units
    assert (one.ids[1:] != one.ids[:-1]).all()
    assert mini.encode([speech]) == [one]
    assert mini.encode([]) == []


def test_units_are_those_of_the_definition(mini: Discretizer, speech: np.ndarray) -> None:
    features_TD = mini.features(speech)
    assert features_TD.shape == (num_frames(speech.size), mini.encoder.dim)
    assert features_TD.dtype == np.float32
    ids = reference.assign(features_TD, mini.codebook.centroids)
    assert np.array_equal(mini.encode(speech, deduplicate=False).ids, ids)
    units, durations, _ = reference.run_length(ids, np.array([0, ids.size]))
    assert mini.encode(speech) == Units(units.astype(np.int32), durations.astype(np.int32))


def test_every_form_of_a_batch_gives_the_same_units(mini: Discretizer, speech: np.ndarray) -> None:
    short = speech[:9_000].copy()
    expected = [mini.encode(speech), mini.encode(short)]
    padded = np.zeros((2, speech.size), np.float32)
    padded[0], padded[1, : short.size] = speech, short
    forms = [
        mini.encode([speech, short]),
        mini.encode((torch.from_numpy(speech), torch.from_numpy(short))),
        mini.encode(padded, lengths=[speech.size, short.size]),
        mini.encode(torch.from_numpy(padded), lengths=torch.tensor([speech.size, short.size])),
        mini.encode([speech.astype(np.float64), short.astype(np.float64)]),
    ]
    assert all(form == expected for form in forms)


def test_int16_is_scaled(mini: Discretizer, speech: np.ndarray) -> None:
    whole = np.round(speech * 32767).astype(np.int16)
    assert mini.encode(whole) == mini.encode(whole.astype(np.float32) / 32768)


def test_units_do_not_depend_on_neighbours_or_order(mini: Discretizer, speech: np.ndarray) -> None:
    rng = np.random.default_rng(7)
    waves = [
        speech[a : a + n]
        for a, n in zip((0, 3_000, 11, 8_000), (400, 12_345, 7_777, 20_000), strict=True)
    ]
    alone = [mini.encode(wave) for wave in waves]
    for _ in range(5):
        order = rng.permutation(len(waves))
        assert mini.encode([waves[i] for i in order]) == [alone[i] for i in order]


def test_audio_without_a_frame_has_no_units(mini: Discretizer) -> None:
    none, some = mini.encode([np.ones(399, np.float32), np.ones(400, np.float32)])
    assert (len(none), none.num_frames) == (0, 0)
    assert some.num_frames == 1


@pytest.mark.parametrize(
    ("batch", "error", "text"),
    [
        ([np.zeros(0, np.float32)], AudioError, r"wav_batch\[0\]"),
        (
            [np.zeros(500, np.float32), np.array([0.0, np.nan] * 300, np.float32)],
            AudioError,
            r"wav_batch\[1\]",
        ),
        ([np.full(500, np.inf, np.float32)], AudioError, "inf"),
        (np.zeros((2, 500), np.float32), InputError, r"\(2, 500\)"),
        ([np.zeros((2, 500), np.float32)], InputError, r"\(2, 500\)"),
        ([np.zeros(500, np.int64)], InputError, "int64"),
        (["talk.wav"], InputError, "str"),
    ],
)
def test_bad_input_is_an_error_that_holds_the_value(
    mini: Discretizer, batch: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        mini.encode(batch)
    assert issubclass(error, ValueError)


@pytest.mark.parametrize("rate", [0, -1, 10**9])
def test_an_impossible_rate_is_named(mini: Discretizer, rate: int) -> None:
    with pytest.raises(InputError, match=str(rate)):
        mini.encode(np.zeros(500, np.float32), rate)


def test_other_rates_are_resampled(mini: Discretizer, speech: np.ndarray) -> None:
    twice = np.repeat(speech, 2)
    assert mini.encode(twice, 32_000).num_frames == num_frames(speech.size)


def test_files_are_rows_in_order_and_a_bad_one_has_its_reason(
    mini: Discretizer, speech: np.ndarray, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "good.flac", speech, 16_000)
    soundfile.write(tmp_path / "short.wav", speech[:399], 16_000)
    soundfile.write(tmp_path / "nan.wav", np.full(900, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("<html></html>")
    names = ["good.flac", "text.wav", "missing.wav", "short.wav", "nan.wav", "good.flac"]
    rows = list(mini.encode_files([tmp_path / name for name in names]))
    assert [row.status for row in rows] == [
        Reason.OK,
        Reason.DECODE_ERROR,
        Reason.MISSING,
        Reason.TOO_SHORT,
        Reason.NON_FINITE,
        Reason.OK,
    ]
    assert [row.id for row in rows] == ["good", "text", "missing", "short", "nan", "good#2"]
    assert (
        rows[0].units
        == rows[5].units
        == mini.encode(soundfile.read(tmp_path / "good.flac", dtype="float32")[0])
    )
    assert all((row.units is None) == bool(row.message) for row in rows)
    assert all("wav" in row.message for row in rows[1:5])


def test_without_a_model_the_miniature_is_used_and_says_so_once(speech: np.ndarray) -> None:
    module._default.cache_clear()
    with pytest.warns(UserWarning, match="mini"):
        first = spire_dsu.encode(speech)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spire_dsu.encode(speech) == first
        assert spire_dsu.encode([speech], model="mini") == [first]


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ModelError, match="no_such_model"):
        Discretizer.from_pretrained("no_such_model")


def test_a_saved_model_gives_the_same_units(
    mini: Discretizer, speech: np.ndarray, tmp_path: Path
) -> None:
    folder = mini.save_pretrained(tmp_path / "copy")
    again = Discretizer.from_pretrained(folder, device="cpu")
    assert again.encode(speech) == mini.encode(speech)
    assert again.fingerprint() == mini.fingerprint()
    with pytest.raises(ModelError, match="not an empty folder"):
        mini.save_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json"):
        Discretizer.from_pretrained(folder)


def test_parts_make_the_same_discretizer(
    mini: Discretizer, speech: np.ndarray, tmp_path: Path
) -> None:
    folder = mini.save_pretrained(tmp_path / "copy")
    for centroids in (folder / "codebook.safetensors", mini.codebook.centroids):
        built = Discretizer.from_parts(
            encoder=folder / "encoder", centroids=centroids, layer=mini.config.layer
        )
        assert built.encode(speech) == mini.encode(speech)


def test_parts_that_do_not_fit_are_refused(mini: Discretizer, tmp_path: Path) -> None:
    folder = mini.save_pretrained(tmp_path / "copy") / "encoder"
    with pytest.raises(ModelError, match="D = 7"):
        Discretizer.from_parts(folder, np.zeros((5, 7), np.float32), layer=1)
    with pytest.raises(ModelError, match="99"):
        Discretizer.from_parts(folder, mini.codebook.centroids, layer=99)
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="encoder"):
        Discretizer.from_parts(folder, mini.codebook.centroids, layer=1)


def test_another_layer_gives_other_units(
    mini: Discretizer, speech: np.ndarray, tmp_path: Path
) -> None:
    folder = mini.save_pretrained(tmp_path / "copy")
    other = Discretizer.from_parts(
        folder / "encoder", mini.codebook.centroids, layer=mini.config.layer - 1
    )
    assert other.encode(speech) != mini.encode(speech)
    assert other.fingerprint()["encoder"] != mini.fingerprint()["encoder"]


def test_the_codebook_of_a_model_is_what_is_on_disk(mini: Discretizer) -> None:
    file = Path(module.__file__).parent / "models" / "mini" / "codebook.safetensors"
    assert load_codebook(file).digest == mini.fingerprint()["codebook"]
