"""The features of an utterance depend on its own samples alone."""

from __future__ import annotations

import random
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import make_hubert, make_waves

from spire_dsu.config import ChunkingConfig
from spire_dsu.features import Encoder, FeatureBlock

LENGTHS = [400, 401, 719, 720, 399, 1, 5_000, 16_000, 24_001, 9_999, 3_200, 640, 12_345, 0]
WINDOWS = ChunkingConfig(window_seconds=0.6, overlap_seconds=0.2)


def rows(blocks: list[FeatureBlock]) -> dict[int, torch.Tensor]:
    """The features of each utterance, put together from a stream's blocks."""
    found: dict[int, list[torch.Tensor]] = {}
    open_row = None
    for block in blocks:
        splits = block.row_splits.tolist()
        assert splits[0] == 0
        assert splits[-1] == len(block.features)
        assert open_row in (None, block.first)
        for row, (start, stop) in enumerate(pairwise(splits)):
            found.setdefault(block.first + row, []).append(block.features[start:stop])
        open_row = block.first + len(splits) - 2 if block.last_row_continues else None
    assert open_row is None
    assert list(found) == sorted(found)
    return {index: torch.cat(parts) for index, parts in found.items()}


@pytest.mark.parametrize("flavour", ["large", "base"])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_neighbours_and_order_change_no_bit(flavour: str, precision: str, tmp_path: Path) -> None:
    make_hubert(tmp_path, flavour, num_hidden_layers=1)
    encoder = Encoder.from_pretrained(
        tmp_path, layer=1, device="cpu", precision=precision, chunking=WINDOWS
    )
    assert encoder.precision == precision
    waves = make_waves(LENGTHS)
    alone = [encoder(wave) for wave in waves]
    rng = random.Random(1)
    comparisons = 0
    for _ in range(50):
        order = [rng.randrange(len(waves)) for _ in range(rng.randint(1, 20))]
        together = rows(list(encoder.stream(waves[i] for i in order)))
        for place, i in enumerate(order):
            assert torch.equal(together[place], alone[i])
            comparisons += 1
    assert comparisons > 400


def test_a_place_in_memory_changes_no_bit(tmp_path: Path) -> None:
    make_hubert(tmp_path, num_hidden_layers=1)
    encoder = Encoder.from_pretrained(tmp_path, layer=1, device="cpu")
    (wave,) = make_waves([7_777])
    expected = encoder(wave)
    room = np.zeros(8_000, np.float32)
    for offset in range(1, 18):
        room[offset : offset + wave.size] = wave
        assert torch.equal(encoder(room[offset : offset + wave.size]), expected)


@pytest.mark.parametrize("flavour", ["large", "base", "group-pre-norm", "wide-kernel"])
def test_packs_of_many_utterances_are_within_float_noise(flavour: str, tmp_path: Path) -> None:
    make_hubert(tmp_path, flavour)
    one = Encoder.from_pretrained(tmp_path, layer=3, device="cpu", chunking=WINDOWS)
    waves = make_waves(LENGTHS)
    alone = [one(wave) for wave in waves]
    rng = random.Random(2)
    for pack_seconds in (0.0, 0.5, 1.7, 60.0):
        packed = Encoder.from_pretrained(
            tmp_path, layer=3, device="cpu", chunking=WINDOWS, pack_seconds=pack_seconds
        )
        order = [rng.randrange(len(waves)) for _ in range(20)]
        blocks = list(packed.stream(waves[i] for i in order))
        assert (len(blocks) == 1) == (pack_seconds == 60.0)
        for place, features in rows(blocks).items():
            expected = alone[order[place]]
            assert features.shape == expected.shape
            if len(expected):
                error = float((features - expected).abs().max() / expected.abs().max())
                assert error < 2e-5


def test_a_loud_neighbour_in_a_pack_is_not_heard(tmp_path: Path) -> None:
    """Any leak through convolution, normalisation or attention would show at this ratio."""
    for flavour in ("large", "base"):
        make_hubert(tmp_path / flavour, flavour)
        encoder = Encoder.from_pretrained(
            tmp_path / flavour, layer=3, device="cpu", normalize_eps=None, pack_seconds=60.0
        )
        quiet, other = make_waves([6_000, 6_001])
        for neighbours in ([other], [other * 1e4], [np.float32(1e6) * np.sign(other)]):
            for waves in ([quiet, *neighbours], [*neighbours, quiet], [*neighbours, quiet, other]):
                place = next(i for i, wave in enumerate(waves) if wave is quiet)
                (block,) = encoder.stream(waves)
                start, stop = block.row_splits[place : place + 2]
                expected = encoder(quiet)
                error = (block.features[start:stop] - expected).abs().max() / expected.abs().max()
                assert float(error) < 2e-5


def test_threads_may_share_an_encoder(tmp_path: Path) -> None:
    make_hubert(tmp_path, num_hidden_layers=1)
    encoder = Encoder.from_pretrained(tmp_path, layer=1, device="cpu")
    waves = make_waves([2_000, 3_000, 4_000, 5_000])
    expected = [encoder(wave) for wave in waves]
    setting = torch.backends.mkldnn.matmul.fp32_precision
    wrong = []

    def work(index: int) -> None:
        for _ in range(20):
            if not torch.equal(encoder(waves[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert torch.backends.mkldnn.matmul.fp32_precision == setting
