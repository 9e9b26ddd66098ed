"""Mistakes of other tools that change units without an error; each must not be ours.

Every test first shows that the mistake would be seen, on the reference model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from makers import make_hubert, make_wave, reference_features
from transformers import HubertModel

from spire_dsu.features import Encoder
from spire_dsu.types import Float32, num_frames

NOISE = 2e-5
SEEN = 50 * NOISE


def distance(ours: Float32, theirs: Float32) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[HubertModel, Encoder]:
    folder = tmp_path_factory.mktemp("large")
    model = make_hubert(folder)
    return model, Encoder.from_pretrained(folder, layer=2, device="cpu")


def test_an_odd_length_gets_no_sample_of_full_scale_before_it_is_normalised(
    large: tuple[HubertModel, Encoder],
) -> None:
    """seamless_communication pads to an even length with the value 1."""
    model, encoder = large
    wave = make_wave(16_001) * np.float32(0.02)
    right = reference_features(model, wave, 2)
    padded = reference_features(model, np.append(wave, np.float32(1)), 2)
    assert distance(padded, right) > SEEN
    assert distance(encoder(wave).numpy(), right) < NOISE


def test_padding_takes_no_part_in_the_normalisation(large: tuple[HubertModel, Encoder]) -> None:
    """SpeechBrain normalises the padded row, so that gain depends on the longest neighbour."""
    model, encoder = large
    wave = make_wave(16_000)
    right = reference_features(model, wave, 2)
    long_row = np.concatenate([wave, np.zeros(48_000, np.float32)])
    scaled = (wave - long_row.mean()) / np.sqrt(long_row.var() + 1e-5)
    assert distance(reference_features(model, scaled, 2, None), right) > SEEN
    short, _ = encoder.stream([wave, make_wave(64_000)])
    assert distance(short.features.numpy(), right) < NOISE


def test_no_frame_of_padding_is_appended(large: tuple[HubertModel, Encoder]) -> None:
    """ESPnet and S3PRL count ceil(n / 320) frames; asrp and slamkit round a ratio."""
    _, encoder = large
    lengths = [400, 720, 5_000, 16_000, 16_001, 16_080]
    blocks = list(encoder.stream([make_wave(length) for length in lengths]))
    counts = [len(block.features) for block in blocks]
    assert counts == [num_frames(length) for length in lengths]
    assert counts != [-(-length // 320) for length in lengths]


def test_the_frame_grid_is_not_shifted_by_padding(large: tuple[HubertModel, Encoder]) -> None:
    """slamkit and bshall put 40 zeros on either side."""
    model, encoder = large
    wave = make_wave(16_000)
    right = reference_features(model, wave, 2)
    shifted = reference_features(model, np.pad(wave, 40), 2)
    assert distance(shifted[: len(right)], right) > SEEN
    assert distance(encoder(wave).numpy(), right) < NOISE


def test_the_waveform_is_normalised_at_all(large: tuple[HubertModel, Encoder]) -> None:
    """ESPnet's reader of fairseq models never normalises."""
    model, encoder = large
    wave = make_wave(8_000) + np.float32(0.1)
    right = reference_features(model, wave, 2)
    assert distance(reference_features(model, wave, 2, None), right) > SEEN
    assert distance(encoder(wave).numpy(), right) < NOISE


def test_neighbours_are_not_attended_to(large: tuple[HubertModel, Encoder]) -> None:
    """Batches without a mask; SpiritLM, slamkit and asrp make them."""
    model, encoder = large
    wave = make_wave(8_000)
    right = reference_features(model, wave, 2)
    normal = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-5)
    with torch.no_grad():
        row = torch.from_numpy(np.pad(normal, (0, 16_000)))[None]
        unmasked = model(row, output_hidden_states=True).hidden_states[2][0, : len(right)].numpy()
    assert distance(unmasked, right) > SEEN
    (block, _) = encoder.stream([wave, make_wave(24_000)])
    assert distance(block.features.numpy(), right) < NOISE


def test_a_group_norm_model_is_not_padded_even_with_a_mask(tmp_path: Path) -> None:
    """Its first normalisation runs over time, so a mask cannot help (transformers, torchaudio)."""
    model = make_hubert(tmp_path, "base")
    wave = make_wave(8_000)
    right = reference_features(model, wave, 2)
    normal = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-5)
    with torch.no_grad():
        row = torch.from_numpy(np.pad(normal, (0, 16_000)))[None]
        mask = (torch.arange(24_000) < 8_000)[None]
        states = model(row, attention_mask=mask, output_hidden_states=True).hidden_states
    assert distance(states[2][0, : len(right)].numpy(), right) > SEEN
    encoder = Encoder.from_pretrained(tmp_path, layer=2, device="cpu", pack_seconds=60.0)
    (block,) = encoder.stream([make_wave(24_000), wave, make_wave(500)])
    start, stop = block.row_splits[1:3]
    assert distance(block.features[start:stop].numpy(), right) < NOISE


def test_the_two_epsilons_are_two_settings(tmp_path: Path) -> None:
    """fairseq adds 1e-5 to the variance, transformers 1e-7: quiet audio hears it."""
    model = make_hubert(tmp_path)
    wave = make_wave(8_000)
    wave *= np.float32(0.001 / wave.std())
    features = {}
    for eps in (1e-5, 1e-7):
        encoder = Encoder.from_pretrained(tmp_path, layer=2, normalize_eps=eps, device="cpu")
        features[eps] = encoder(wave).numpy()
        assert distance(features[eps], reference_features(model, wave, 2, eps)) < NOISE
    assert distance(features[1e-5], features[1e-7]) > SEEN


def test_a_bias_of_the_convolutions_is_read_from_the_checkpoint(tmp_path: Path) -> None:
    """fairseq's default has none; the large model has one."""
    model = make_hubert(tmp_path, "large")
    wave = make_wave(4_000)
    right = reference_features(model, wave, 2)
    assert (
        distance(Encoder.from_pretrained(tmp_path, layer=2, device="cpu")(wave).numpy(), right)
        < NOISE
    )
    for conv in model.feature_extractor.conv_layers:
        torch.nn.init.zeros_(conv.conv.bias)
    assert distance(reference_features(model, wave, 2), right) > SEEN
