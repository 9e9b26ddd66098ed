"""Long audio: where it is cut, that no frame is lost or doubled, and what a seam costs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import make_hubert, make_wave, reference_features

from spire_dsu.config import ChunkingConfig
from spire_dsu.errors import ConfigError
from spire_dsu.features import Encoder
from spire_dsu.hubert.architecture import Architecture
from spire_dsu.hubert.spans import Span, cut
from spire_dsu.types import num_frames

HUBERT = Architecture()
ODD = Architecture(conv_dim=(8, 8), conv_kernel=(7, 5), conv_stride=(3, 2))


def overlap(window: float, shared: float) -> ChunkingConfig:
    return ChunkingConfig(window_seconds=window, overlap_seconds=shared)


def check_windows(num_samples: int, arch: Architecture, chunking: ChunkingConfig) -> list[Span]:
    """Every promise about windows, for one utterance."""
    spans = cut(num_samples, arch, chunking)
    frames = []  # the frame of the uncut audio that each kept frame is
    for span in spans:
        assert span.start % arch.hop == 0
        assert 0 <= span.start < span.stop <= num_samples
        assert 0 <= span.first < span.last <= arch.num_frames(span.stop - span.start)
        frames += range(span.start // arch.hop + span.first, span.start // arch.hop + span.last)
    assert frames == list(range(arch.num_frames(num_samples)))
    limit = round(chunking.window_seconds * 16_000)
    shared = round(chunking.overlap_seconds * 16_000 / arch.hop)
    if len(spans) > 1:
        assert len({arch.num_frames(span.stop - span.start) for span in spans}) == 1
        assert max(span.stop - span.start for span in spans) < limit + arch.hop
    for left, right in pairwise(spans):
        end = left.start // arch.hop + arch.num_frames(left.stop - left.start)
        assert end - right.start // arch.hop >= shared
        assert right.first >= shared // 2
        assert arch.num_frames(left.stop - left.start) - left.last >= shared // 2
    return spans


def test_the_published_model_has_the_published_grid() -> None:
    assert (HUBERT.hop, HUBERT.field) == (320, 400)
    assert [HUBERT.num_frames(n) for n in range(3_000)] == [num_frames(n) for n in range(3_000)]


def test_no_length_loses_or_doubles_a_frame() -> None:
    for chunking in (overlap(0.5, 0.1), overlap(0.5, 0.0), overlap(0.4, 0.2), overlap(0.045, 0.02)):
        for num_samples in range(0, 40_000, 61):
            check_windows(num_samples, HUBERT, chunking)
    for num_samples in range(0, 6_000, 5):
        check_windows(num_samples, ODD, overlap(0.05, 0.01))


def test_around_every_border_of_a_window() -> None:
    chunking = overlap(2.0, 0.5)
    for border in (32_000, 56_000, 80_000, 104_000):
        for num_samples in range(border - 500, border + 501, 3):
            check_windows(num_samples, HUBERT, chunking)


@pytest.mark.parametrize("seconds", [99, 101, 200, 3_600, 36_000])
def test_the_default_cuts_what_is_over_100_seconds(seconds: int) -> None:
    spans = check_windows(seconds * 16_000, HUBERT, ChunkingConfig())
    assert len(spans) == (1 if seconds <= 100 else -(-(seconds - 10) // 90))


def test_an_hour_has_179999_frames_and_fairseq_loses_one_at_each_cut() -> None:
    hour = 3_600 * 16_000
    spans = {p: cut(hour, HUBERT, ChunkingConfig(policy=p)) for p in ("overlap", "fairseq", "none")}
    total = {p: sum(span.num_frames for span in each) for p, each in spans.items()}
    assert total == {"overlap": 179_999, "fairseq": 179_964, "none": 179_999}
    assert len(spans["none"]) == 1


@pytest.mark.parametrize("num_samples", [1_599_999, 1_600_000, 1_600_001, 1_600_399, 3_200_001])
def test_a_tail_too_short_for_a_frame_is_dropped_where_fairseq_crashes(num_samples: int) -> None:
    spans = cut(num_samples, HUBERT, ChunkingConfig(policy="fairseq"))
    whole = num_samples // 1_600_000
    tail = num_frames(num_samples - whole * 1_600_000)
    assert [span.num_frames for span in spans] == [4_999] * whole + [tail] * (tail > 0)
    check_windows(num_samples, HUBERT, ChunkingConfig())


def test_a_window_shorter_than_its_overlap_is_refused() -> None:
    for chunking in (overlap(0.02, 0.0), overlap(0.04, 0.02)):
        with pytest.raises(ConfigError, match=str(chunking.window_seconds)):
            cut(16_000, HUBERT, chunking)
    assert cut(300, HUBERT, overlap(0.02, 0.0)) == []


@pytest.mark.parametrize("flavour", ["large", "base"])
def test_whole_audio_of_100_seconds_and_a_sample_over(flavour: str, tmp_path: Path) -> None:
    model = make_hubert(tmp_path, flavour, num_hidden_layers=1)
    encoder = Encoder.from_pretrained(tmp_path, layer=1, device="cpu")
    wave = make_wave(1_600_001)
    expected = reference_features(model, wave[:1_600_000], 1)
    whole = encoder(wave[:1_600_000])
    assert whole.shape == (4_999, encoder.dim)
    assert np.abs(whole.numpy() - expected).max() < 2e-5 * np.abs(expected).max()
    over = encoder(wave)  # fairseq crashes on its 1,600,001st sample
    assert over.shape == (num_frames(1_600_001), encoder.dim)


def test_without_attention_windows_are_exact(tmp_path: Path) -> None:
    """Layer 0 sees a bounded stretch of samples; with enough overlap a seam is no seam."""
    wave = make_wave(100_003)
    for flavour in ("large", "base", "group-pre-norm", "layer-post-norm"):
        make_hubert(tmp_path / flavour, flavour)
        whole = Encoder.from_pretrained(tmp_path / flavour, layer=0, device="cpu")(wave)
        for window, shared in ((2.0, 0.4), (1.0, 0.5)):
            encoder = Encoder.from_pretrained(
                tmp_path / flavour, layer=0, device="cpu", chunking=overlap(window, shared)
            )
            assert sum(1 for _ in encoder.stream([wave])) > 3
            windows = encoder(wave)
            assert windows.shape == whole.shape
            assert float((windows - whole).abs().max() / whole.abs().max()) < 1e-5


def test_the_waveform_is_normalised_over_the_whole_and_not_by_window(tmp_path: Path) -> None:
    make_hubert(tmp_path)
    wave = make_wave(80_000)
    wave[40_000:] *= 0.01
    whole = Encoder.from_pretrained(tmp_path, layer=0, device="cpu")(wave)
    for chunking in (overlap(1.5, 0.5), ChunkingConfig(policy="fairseq", window_seconds=2.5)):
        cut_up = Encoder.from_pretrained(tmp_path, layer=0, device="cpu", chunking=chunking)(wave)
        same = min(len(cut_up), 100)
        assert torch.allclose(cut_up[:same], whole[:same], atol=1e-5 * float(whole.abs().max()))


def test_fairseq_policy_is_hard_cuts_of_the_normalised_waveform(tmp_path: Path) -> None:
    model = make_hubert(tmp_path)
    chunking = ChunkingConfig(policy="fairseq", window_seconds=1.0)
    encoder = Encoder.from_pretrained(tmp_path, layer=2, device="cpu", chunking=chunking)
    for tail in (0, 1, 399, 400, 7_000):
        wave = make_wave(48_000 + tail, seed=tail)
        normal = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-5)
        parts = [normal[start : start + 16_000] for start in range(0, wave.size, 16_000)]
        expected = np.concatenate(
            [reference_features(model, part, 2, None) for part in parts if part.size >= 400]
        )
        ours = encoder(wave)
        assert ours.shape == expected.shape
        assert encoder.num_frames(wave.size) == len(expected)
        assert np.abs(ours.numpy() - expected).max() < 2e-5 * np.abs(expected).max()


def test_windows_with_attention_come_near_the_whole(tmp_path: Path) -> None:
    make_hubert(tmp_path)
    wave = make_wave(160_000)
    whole = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")(wave)
    errors = []
    for seconds in (2.0, 4.0, 8.0):
        chunking = overlap(seconds, seconds / 4)
        encoder = Encoder.from_pretrained(tmp_path, layer=3, device="cpu", chunking=chunking)
        windows = encoder(wave)
        assert windows.shape == whole.shape
        errors.append(float((windows - whole).norm() / whole.norm()))
    assert errors[2] < errors[0] < 0.5
