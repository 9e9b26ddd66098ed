"""A stream of utterances through packs of constant size, with the device's runtime stood in for."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from done_at_once import packed_encoder
from makers import make_hubert, make_waves, save_hubert

from spire_dsu.config import ChunkingConfig
from spire_dsu.features import Encoder, FeatureBlock

LENGTHS = [400, 401, 719, 399, 1, 5_000, 16_000, 24_001, 9_999, 640, 12_345, 0, 100_000]


def rows(blocks: list[FeatureBlock]) -> list[torch.Tensor]:
    """The features of each utterance."""
    found: dict[int, list[torch.Tensor]] = {}
    for block in blocks:
        for row, (start, stop) in enumerate(pairwise(block.row_splits.tolist())):
            found.setdefault(block.first + row, []).append(block.features[start:stop])
    assert list(found) == list(range(len(found)))
    return [torch.cat(parts) for parts in found.values()]


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max()) if len(ours) else 0.0


@pytest.mark.parametrize("eps", [1e-5, None])
def test_a_stream_is_each_alone(
    eps: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also windows, an utterance longer than a pack, ones without a frame, full and empty packs."""
    make_hubert(tmp_path)
    waves = make_waves(LENGTHS)
    rng = random.Random(4)
    for chunking in (ChunkingConfig(), ChunkingConfig(window_seconds=0.6, overlap_seconds=0.2)):
        one = Encoder.from_pretrained(
            tmp_path, layer=3, device="cpu", chunking=chunking, normalize_eps=eps
        )
        alone = [one(wave) for wave in waves]
        with packed_encoder(tmp_path, monkeypatch, chunking=chunking, eps=eps) as encoder:
            for _ in range(2):
                order = [rng.randrange(len(waves)) for _ in range(12)] + [3, 4, 11]
                blocks = list(encoder.stream(waves[i] for i in order))
                assert len(blocks) > 1
                found = rows(blocks)
                assert len(found) == len(order)
                for features, i in zip(found, order, strict=True):
                    assert error(features, alone[i]) < 2e-5
            assert encoder.overflows == 0
            assert list(encoder.stream([])) == []
            assert rows(list(encoder.stream([waves[4], waves[3]])))[0].shape == (0, 32)


def test_what_overflows_goes_through_bfloat16_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_hubert(tmp_path / "plain")
    with torch.no_grad():
        model.encoder.layers[1].feed_forward.output_dense.weight.mul_(3e5)
    save_hubert(model, tmp_path / "steep")
    waves = make_waves([4_000, 399, 30_000, 4_001])
    one = Encoder.from_pretrained(tmp_path / "steep", layer=3, device="cpu")
    with packed_encoder(tmp_path / "steep", monkeypatch, dtype=torch.float16) as encoder:
        found = rows(list(encoder.stream(waves)))
        assert encoder.overflows == 3
        for features, wave in zip(found, waves, strict=True):
            assert error(features, one(wave)) < 0.1
        alone = [encoder(wave) for wave in waves]
        assert all(torch.equal(a, b) for a, b in zip(found, alone, strict=True))


def test_an_utterance_that_is_not_finite_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_hubert(tmp_path)
    waves = make_waves([4_000, 5_000, 4_001])
    waves[1][77] = np.nan
    one = Encoder.from_pretrained(tmp_path, layer=3, device="cpu")
    with packed_encoder(tmp_path, monkeypatch) as encoder:
        for _ in range(2):
            found = rows(list(encoder.stream(waves)))
            assert not found[1].isfinite().all()
            for i in (0, 2):
                assert error(found[i], one(waves[i])) < 2e-5
