"""The encoder against transformers' HuBERT, each utterance alone."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import FLAVOURS, make_hubert, make_wave, reference_features
from transformers import HubertModel

from spire_dsu import features as module
from spire_dsu import reference
from spire_dsu.config import ChunkingConfig
from spire_dsu.errors import ConfigError, InputError
from spire_dsu.features import Encoder
from spire_dsu.hubert.ops import OneDnnOps, TorchOps
from spire_dsu.types import num_frames

FLOAT_NOISE = 2e-5  # of the largest value; transformers in float32 is 2e-6 off float64


def relative_error(ours: torch.Tensor, theirs: np.ndarray) -> float:
    assert ours.dtype == torch.float32
    assert tuple(ours.shape) == theirs.shape
    return float(np.abs(ours.numpy().astype(np.float64) - theirs).max() / np.abs(theirs).max())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HubertModel]:
    folder = tmp_path_factory.mktemp("large")
    return folder, make_hubert(folder)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_layer_of_every_flavour_is_that_of_transformers(flavour: str, tmp_path: Path) -> None:
    model = make_hubert(tmp_path, flavour, seed=3)
    for layer in range(model.config.num_hidden_layers + 1):
        encoder = Encoder.from_pretrained(tmp_path, layer=layer, device="cpu")
        for length in (400, 719, 6_001):
            wave = make_wave(length, seed=length)
            expected = reference_features(model, wave, layer, dtype=torch.float64)
            assert relative_error(encoder(wave), expected) < FLOAT_NOISE


@pytest.mark.parametrize("length", [400, 401, 719, 720, 1_039, 1_040, 16_000, 48_001])
@pytest.mark.parametrize("eps", [1e-5, 1e-7, None])
def test_every_length_and_normalisation(
    large: tuple[Path, HubertModel], length: int, eps: float | None
) -> None:
    folder, model = large
    encoder = Encoder.from_pretrained(folder, layer=2, normalize_eps=eps, device="cpu")
    for gain in (1.0, 0.01):  # quiet audio tells the epsilons apart
        wave = make_wave(length, seed=length) * np.float32(gain)
        ours, expected = encoder(wave), reference_features(model, wave, 2, eps)
        assert ours.shape[0] == num_frames(length) == encoder.num_frames(length)
        assert relative_error(ours, expected) < FLOAT_NOISE


def test_any_stack_of_convolutions(tmp_path: Path) -> None:
    rng = random.Random(11)
    for trial in range(6):
        count = rng.randint(1, 5)
        kernels = [rng.randint(1, 9) for _ in range(count)]
        model = make_hubert(
            tmp_path / str(trial),
            rng.choice(["large", "base"]),
            seed=trial,
            conv_dim=[rng.choice([4, 20, 32]) for _ in kernels],
            conv_kernel=kernels,
            conv_stride=[rng.randint(1, kernel) for kernel in kernels],
        )
        encoder = Encoder.from_pretrained(tmp_path / str(trial), layer=1, device="cpu")
        for length in (900, 2_501):
            wave = make_wave(length)
            expected = reference_features(model, wave, 1, dtype=torch.float64)
            assert relative_error(encoder(wave), expected) < FLOAT_NOISE


def test_exact_is_as_close_to_the_truth_as_transformers_in_float32(tmp_path: Path) -> None:
    sizes = {"hidden_size": 128, "intermediate_size": 256, "conv_dim": (64,) * 7}
    for flavour in ("large", "base"):
        model = make_hubert(tmp_path / flavour, flavour, **sizes)
        encoder = Encoder.from_pretrained(tmp_path / flavour, layer=3, device="cpu")
        ours, theirs = [], []
        for seed in range(4):
            wave = make_wave(20_000, seed)
            truth = reference_features(model, wave, 3, dtype=torch.float64)
            ours.append(encoder(wave).numpy() - truth)
            theirs.append(reference_features(model, wave, 3) - truth)
        assert np.std(np.concatenate(ours)) < 1.5 * np.std(np.concatenate(theirs))


def test_units_are_those_of_the_reference_wherever_its_margin_is_above_noise(
    large: tuple[Path, HubertModel],
) -> None:
    folder, model = large
    encoder = Encoder.from_pretrained(folder, layer=2, device="cpu")
    waves = [make_wave(9_000, seed) for seed in range(12)]
    truth = np.concatenate([reference_features(model, w, 2, dtype=torch.float64) for w in waves])
    centroids = truth[np.random.default_rng(0).permutation(len(truth))[:150]].astype(np.float32)
    distances = ((truth[:, None] - centroids.astype(np.float64)) ** 2).sum(-1)
    best, second = np.sort(distances, axis=1)[:, :2].T
    clear = second - best > 1e-4 * second
    ours = reference.assign(torch.cat([encoder(w) for w in waves]).numpy(), centroids)
    assert clear.mean() > 0.99
    assert np.array_equal(ours[clear], distances.argmin(1)[clear])


def test_a_layer_too_far_or_a_final_norm_would_be_seen(large: tuple[Path, HubertModel]) -> None:
    folder, model = large
    wave = make_wave(8_000)
    ours = Encoder.from_pretrained(folder, layer=2, device="cpu")(wave)
    right = reference_features(model, wave, 2)
    assert relative_error(ours, right) < FLOAT_NOISE
    for layer in (1, 3):
        assert relative_error(ours, reference_features(model, wave, layer)) > 0.01
    with torch.no_grad():
        normed = model.encoder.layer_norm(torch.from_numpy(right)).numpy()
    assert relative_error(ours, normed) > 0.01


def test_fast_stays_near_exact_and_is_float32(tmp_path: Path) -> None:
    for flavour in ("large", "base"):
        make_hubert(tmp_path / flavour, flavour, hidden_size=64, num_attention_heads=2)
        exact = Encoder.from_pretrained(tmp_path / flavour, layer=3, device="cpu")
        fast = Encoder.from_pretrained(tmp_path / flavour, layer=3, device="cpu", precision="fast")
        for length in (400, 30_000, 200_000):  # the last takes attention in several blocks of rows
            wave = make_wave(length)
            slow, quick = exact(wave), fast(wave)
            assert quick.dtype == torch.float32
            error = float((slow - quick).norm() / slow.norm())
            assert 0 < error < 0.03


def test_fast_without_bfloat16_falls_back_aloud(
    large: tuple[Path, HubertModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_has_bfloat16", lambda: False)
    with pytest.warns(RuntimeWarning, match="bfloat16"):
        encoder = Encoder.from_pretrained(large[0], layer=1, device="cpu", precision="fast")
    assert encoder.precision == "exact"
    wave = make_wave(4_000)
    exact = Encoder.from_pretrained(large[0], layer=1, device="cpu")
    assert torch.equal(encoder(wave), exact(wave))


@pytest.mark.parametrize("flavour", ["large", "base", "batch-norm", "odd-kernel"])
def test_plain_pytorch_gives_the_same_as_onednn(
    flavour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_hubert(tmp_path, flavour)
    assert OneDnnOps.available()
    wave = make_wave(10_000)
    ours = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")(wave)
    monkeypatch.setattr(OneDnnOps, "available", staticmethod(lambda: False))
    plain = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    assert type(plain._transformer._ops) is TorchOps
    assert relative_error(plain(wave), ours.numpy()) < FLOAT_NOISE


def test_silence_and_a_constant_have_features(large: tuple[Path, HubertModel]) -> None:
    folder, model = large
    encoder = Encoder.from_pretrained(folder, layer=2, device="cpu")
    for value in (0.0, 1.0, -0.25):
        wave = np.full(5_000, value, np.float32)
        expected = reference_features(model, np.zeros_like(wave), 2, dtype=torch.float64)
        assert relative_error(encoder(wave), expected) < FLOAT_NOISE


@pytest.mark.parametrize("length", [0, 1, 399])
def test_audio_without_a_frame_has_empty_features(
    large: tuple[Path, HubertModel], length: int
) -> None:
    encoder = Encoder.from_pretrained(large[0], layer=2, device="cpu")
    assert encoder(np.ones(length, np.float32)).shape == (0, encoder.dim)
    (block,) = encoder.stream([np.ones(length, np.float32)])
    assert block.row_splits.tolist() == [0, 0]
    assert not block.last_row_continues


def test_every_kind_of_array_is_taken_and_none_is_changed(large: tuple[Path, HubertModel]) -> None:
    encoder = Encoder.from_pretrained(large[0], layer=2, device="cpu")
    wave = make_wave(3_000)
    expected = encoder(wave)
    read_only = wave.copy()
    read_only.flags.writeable = False
    kept = wave.copy()
    spread = np.zeros(6_000, np.float32)
    spread[::2] = wave
    for same in (
        read_only,
        spread[::2],
        wave[::-1].copy()[::-1],
        wave.astype(">f4"),
        wave.astype(np.float64),
        torch.from_numpy(wave),
        torch.from_numpy(wave).requires_grad_(),
        torch.from_numpy(spread)[::2],
    ):
        assert torch.equal(encoder(same), expected)
    assert np.array_equal(wave, kept)
    assert not expected.requires_grad


@pytest.mark.parametrize(
    ("wave", "text"),
    [
        (np.zeros((2, 500), np.float32), r"\(2, 500\)"),
        (np.zeros(500, np.int16), "int16"),
        (np.float32(1.0), r"\(\)"),
    ],
)
def test_what_is_no_waveform_is_refused(
    large: tuple[Path, HubertModel], wave: object, text: str
) -> None:
    encoder = Encoder.from_pretrained(large[0], layer=2, device="cpu")
    with pytest.raises(InputError, match=text):
        encoder(wave)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"device": "tpu"}, "tpu"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"device": "meta"}, "meta"),
        ({"precision": "quick"}, "quick"),
        ({"normalize_eps": 0.0}, "0.0"),
        ({"normalize_eps": -1e-5}, "-1e-05"),
        ({"normalize_eps": float("nan")}, "nan"),
        ({"pack_seconds": -1.0}, "-1.0"),
    ],
)
def test_bad_arguments_are_named(
    large: tuple[Path, HubertModel], arguments: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        Encoder.from_pretrained(large[0], layer=2, **{"device": "cpu", **arguments})


def test_the_callers_settings_change_nothing_and_are_kept(
    large: tuple[Path, HubertModel],
) -> None:
    encoder = Encoder.from_pretrained(large[0], layer=3, device="cpu")
    wave = make_wave(6_000)
    expected = encoder(wave)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            stream = encoder.stream([wave])
            assert torch.equal(next(stream).features, expected)
            assert torch.is_grad_enabled()  # also while the stream is under way
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision(before)


def test_what_the_encoder_says_of_itself(large: tuple[Path, HubertModel]) -> None:
    chunking = ChunkingConfig(policy="none")
    encoder = Encoder.from_pretrained(
        large[0], layer=2, device="cpu", precision="auto", normalize_eps=None, chunking=chunking
    )
    assert (encoder.dim, encoder.layer, encoder.precision) == (32, 2, "exact")
    assert (encoder.normalize_eps, encoder.chunking) == (None, chunking)
    assert encoder.device == torch.device("cpu")
    assert len(encoder.digest) == 64


def test_waves_are_taken_one_at_a_time(large: tuple[Path, HubertModel]) -> None:
    encoder = Encoder.from_pretrained(large[0], layer=1, device="cpu")
    taken = []

    def waves() -> Iterator[np.ndarray]:
        for index in range(5):
            taken.append(index)
            yield make_wave(1_000)

    for count, block in enumerate(encoder.stream(waves())):
        assert block.first == count
        assert len(taken) <= count + 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(encoder.stream([])) == []
