"""Arrays in memory: which are taken, what becomes of them, and how the others are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audio_makers import encode, voice

from spire_dsu.audio import as_waveforms, check_waveform, read_audio
from spire_dsu.errors import AudioError, InputError, Reason


class OnlyDlpack:
    """An array of a library that nothing here knows."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self._array, self._device = array, device

    def __dlpack__(self, **options: object) -> object:
        if self._device != 1:
            raise BufferError("this memory is not the host's")
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0


class LikeCupy(OnlyDlpack):
    """On a GPU (device 2), and copied to the host by `get`."""

    def get(self) -> np.ndarray:
        return self._array.copy()


SOUND = voice(0.1)
FORMS = {
    "float32": SOUND,
    "float64": SOUND.astype(np.float64),
    "big-endian": SOUND.astype(">f4"),
    "every second": np.repeat(SOUND, 2)[::2],
    "read-only": np.frombuffer(SOUND.tobytes(), np.float32),
    "torch": torch.from_numpy(SOUND),
    "torch float64": torch.from_numpy(SOUND).double(),
    "torch with gradient": torch.from_numpy(SOUND.copy()).requires_grad_(),
    "torch strided": torch.from_numpy(np.repeat(SOUND, 2))[::2],
    "dlpack": OnlyDlpack(SOUND),
    "cupy": LikeCupy(SOUND, device=2),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_same_waveform(form: str) -> None:
    waveform = check_waveform(FORMS[form])
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    np.testing.assert_array_equal(waveform, SOUND)


def test_nothing_is_copied_without_need() -> None:
    assert check_waveform(SOUND) is SOUND or np.shares_memory(check_waveform(SOUND), SOUND)
    assert np.shares_memory(check_waveform(torch.from_numpy(SOUND)), SOUND)


@pytest.mark.parametrize("form", ["numpy", "big-endian", "torch"])
def test_int16_is_scaled(form: str) -> None:
    values = np.array([-32768, -1, 0, 1, 32767], np.int16)
    made = {
        "numpy": values,
        "big-endian": values.astype(">i2"),
        "torch": torch.from_numpy(values),
    }[form]
    np.testing.assert_array_equal(check_waveform(made), values.astype(np.float32) / 32768)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    half = torch.from_numpy(SOUND).to(dtype)
    np.testing.assert_array_equal(check_waveform(half), half.float().numpy())


def test_float16_of_numpy() -> None:
    half = SOUND.astype(np.float16)
    np.testing.assert_array_equal(check_waveform(half), half.astype(np.float32))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_gives_what_the_file_gives(rate: int) -> None:
    sound = voice(0.3, rate)
    expected = read_audio(encode(sound, rate=rate, subtype="FLOAT"))
    np.testing.assert_array_equal(check_waveform(sound, rate), expected)


@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8, np.int64, np.bool_, np.complex64])
def test_a_dtype_without_a_scale(dtype: type) -> None:
    with pytest.raises(InputError, match=f"dtype {np.dtype(dtype)}"):
        check_waveform(np.zeros(400, dtype))


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((2, 400), "axis 0"),
        ((400, 2), "axis 1"),
        ((1, 400), "axis 0"),
        ((), "shape"),
        ((2, 3, 4), "shape"),
    ],
)
def test_a_shape_that_is_no_waveform(shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(
        InputError, match=r"must be 1-D.*shape \(.*" + ("" if text == "shape" else text)
    ):
        check_waveform(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 1e300, 3e9], ids=lambda v: f"{v:g}"
)
@pytest.mark.parametrize("where", [0, 777, -1])
def test_a_value_that_is_no_sound(value: float, where: int) -> None:
    samples = SOUND.astype(np.float64)
    samples[where] = value
    with pytest.raises(AudioError) as caught:
        check_waveform(samples, name="wav_batch[3]")
    assert caught.value.reason is Reason.NON_FINITE
    assert f"wav_batch[3][{where % len(SOUND)}] is {value!r}" in str(caught.value)


def test_loud_denormal_and_silent_audio_is_taken() -> None:
    for samples in (SOUND * 32768, SOUND * np.float32(1e-42), SOUND * 0, SOUND * 0 + 1):
        np.testing.assert_array_equal(check_waveform(samples), samples)


@pytest.mark.parametrize("rate", [0, -1, 1, 1 << 31, 16_000.0, "16k", None, True])
def test_a_rate_that_is_none(rate: object) -> None:
    with pytest.raises(InputError, match="sampling_rate"):
        check_waveform(SOUND, rate)
    with pytest.raises(InputError, match="sampling_rate"):
        as_waveforms([], rate)


@pytest.mark.parametrize("empty", [np.zeros(0, np.float32), torch.zeros(0)], ids=["numpy", "torch"])
def test_no_samples(empty: object) -> None:
    with pytest.raises(AudioError) as caught:
        as_waveforms([SOUND, empty])
    assert caught.value.reason is Reason.EMPTY
    assert "wav_batch[1]" in str(caught.value)


def test_too_few_samples_to_resample() -> None:
    with pytest.raises(AudioError, match="1 samples at 48000 Hz") as caught:
        check_waveform(SOUND[:1], 48_000)
    assert caught.value.reason is Reason.EMPTY


@pytest.mark.parametrize("samples", ["talk.wav", [0.1, 0.2], None, 3.5, b"RIFF"])
def test_what_is_no_array(samples: object) -> None:
    with pytest.raises(InputError, match=f"got {type(samples).__name__}"):
        check_waveform(samples)


def test_an_array_that_numpy_cannot_take() -> None:
    with pytest.raises(InputError, match="OnlyDlpack"):
        check_waveform(OnlyDlpack(SOUND, device=2))
    with pytest.raises(InputError, match="Tensor"):
        check_waveform(torch.zeros(400, device="meta"))


def test_a_list_a_single_array_and_a_padded_one() -> None:
    short = SOUND[:500]
    waves, single = as_waveforms([SOUND, torch.from_numpy(short)])
    assert not single
    waves_one, single_one = as_waveforms(short)
    assert single_one
    padded = np.zeros((2, len(SOUND)), np.float32)
    padded[0], padded[1, :500] = SOUND, short
    for made in (padded, torch.from_numpy(padded), LikeCupy(padded, device=2)):
        for lengths in ([len(SOUND), 500], np.array([len(SOUND), 500]), torch.tensor([1600, 500])):
            rows, single_rows = as_waveforms(made, lengths=lengths)
            assert not single_rows
            np.testing.assert_array_equal(rows[0], SOUND)
            np.testing.assert_array_equal(rows[1], short)
    np.testing.assert_array_equal(waves[0], SOUND)
    np.testing.assert_array_equal(waves[1], short)
    np.testing.assert_array_equal(waves_one[0], short)
    assert as_waveforms([]) == ([], False)
    assert as_waveforms((SOUND,))[1] is False


def test_padding_never_counts() -> None:
    padded = np.full((2, 3_000), np.nan, np.float32)
    padded[0, :1_600], padded[1, :500] = SOUND, SOUND[:500]
    rows, _ = as_waveforms(padded, 48_000, lengths=[1_600, 500])
    np.testing.assert_array_equal(rows[1], check_waveform(SOUND[:500], 48_000))


@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        (None, "pass lengths="),
        ([1600], "1 entries for 2 rows"),
        ([1600, 1601], r"lengths\[1\] is 1601"),
        ([-1, 5], r"lengths\[0\] is -1"),
        ([1.5, 2.0], "whole numbers"),
        (np.array([5.0, 5.0]), "whole numbers"),
        ("ab", "whole numbers"),
        (5, "lengths must be an array"),
    ],
)
def test_a_padded_array_with_wrong_lengths(lengths: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        as_waveforms(np.zeros((2, 1_600), np.float32), lengths=lengths)


def test_a_row_of_length_zero_is_named() -> None:
    with pytest.raises(AudioError, match=r"wav_batch\[1\] has 0 samples"):
        as_waveforms(np.zeros((2, 1_600), np.float32), lengths=[5, 0])


@pytest.mark.parametrize("batch", [[SOUND], SOUND], ids=["list", "one array"])
def test_lengths_without_padding(batch: object) -> None:
    with pytest.raises(InputError, match="lengths belongs to a padded"):
        as_waveforms(batch, lengths=[5])


def test_stereo_is_explained() -> None:
    stereo = np.zeros((2, 1_600), np.float32)
    with pytest.raises(InputError, match=r"wav_batch\[0\] must be 1-D.*mean\(axis=0\)"):
        as_waveforms([stereo])
    with pytest.raises(InputError, match=r"2-D.*lengths=.*mean\(axis=1\)"):
        as_waveforms(stereo.T)


def test_three_dimensions() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 2, 400\)"):
        as_waveforms(np.zeros((2, 2, 400), np.float32), lengths=[400, 400])
