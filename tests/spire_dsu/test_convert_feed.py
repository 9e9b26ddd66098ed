"""Decoding ahead: in order, within a budget, each recording once; and calls that fit the memory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from audio_makers import encode, voice
from convert_makers import sound

from spire_dsu.audio import read_audio
from spire_dsu.audio.isolated import IsolatedDecoder
from spire_dsu.convert.feed import Budget, Feed, FeedClosedError
from spire_dsu.convert.packs import Packs
from spire_dsu.convert.recordings import WINDOW_SECONDS, RecordingDecoder, recordings
from spire_dsu.errors import AudioError, InputError, ManifestError, Reason
from spire_dsu.manifest import open_manifest
from spire_dsu.types import AudioFile, Float32, Units, Utterance


class Counting(IsolatedDecoder):
    """Counts what it is asked for, and dies while it answers the first few times."""

    def __init__(self, deaths: int = 0, **options: float) -> None:
        super().__init__(**options)
        self.asked: list[tuple[float, float | None]] = []
        self._deaths = deaths

    def decode(self, source: object, **wanted: object) -> object:
        self.asked.append((wanted["offset"], wanted["duration"]))
        return super().decode(source, **wanted)

    def _send(self, data: bytes, deadline: float) -> None:
        if self._deaths:
            self._deaths -= 1
            os.kill(self.pid, signal.SIGKILL)
        super()._send(data, deadline)


@pytest.fixture
def decoder() -> Iterator[RecordingDecoder]:
    one = RecordingDecoder(max_seconds=100.0, timeout_seconds=600.0)
    one.child = Counting(timeout_seconds=600.0)
    yield one
    one.child.close()


def pieces(path: Path, *times: tuple[float, float], channel: int | None = None) -> list[Utterance]:
    return [
        Utterance(
            f"{path.name}-{k}", path.name, AudioFile(str(path)), offset, length, channel=channel
        )
        for k, (offset, length) in enumerate(times)
    ]


TIMES = ((0.0, 0.3), (0.25, 0.4), (0.7113, 0.2001), (0.7113, 0.5), (1.1, 0.9))


@pytest.mark.parametrize(
    ("kind", "rate", "channels"),
    [("MP3", 44_100, 1), ("MP3", 16_000, 2), ("VORBIS", 48_000, 2), ("OPUS", 48_000, 1)],
)
def test_a_recording_is_decoded_once_and_its_pieces_are_the_same(
    tmp_path: Path, decoder: RecordingDecoder, kind: str, rate: int, channels: int
) -> None:
    path = tmp_path / "talk"
    path.write_bytes(encode(voice(2.5, rate, channels), kind, rate))
    rows = pieces(path, *TIMES)
    assert list(recordings(iter(rows))) == [rows]
    decoded = decoder.decode(str(path), rows)
    assert len(decoder.child.asked) == 1 + channels
    for row, one in zip(rows, decoded, strict=True):
        alone = read_audio(path, offset=row.offset, duration=row.duration)
        assert one.utterance is row
        assert np.array_equal(one.samples, alone)
        assert one.num_samples == alone.size


def test_pieces_that_need_care_are_decoded_alone(tmp_path: Path, decoder: RecordingDecoder) -> None:
    antiphase = voice(1.0)
    second = np.concatenate([antiphase[:8000], -antiphase[8000:]])
    path = tmp_path / "odd.ogg"
    path.write_bytes(encode(np.stack([antiphase, second], axis=1), "VORBIS"))
    rows = pieces(path, (0.0, 0.2), (0.6, 0.2), (0.7, 5.0), (0.9, 0.101))
    decoded = decoder.decode(str(path), rows)
    assert np.abs(decoded[1].samples).max() > 0.05  # the channels cancel; the first is taken
    assert np.array_equal(decoded[1].samples, read_audio(path, offset=0.6, duration=0.2))
    assert decoded[2].reason is Reason.BAD_SEGMENT
    assert np.array_equal(decoded[3].samples, read_audio(path, offset=0.9, duration=0.101))
    for channel in (0, 1, 2):
        rows = pieces(path, (0.1, 0.2), (0.5, 0.3), channel=channel)
        for row, one in zip(rows, decoder.decode(str(path), rows), strict=True):
            if channel == 2:
                assert one.reason is Reason.BAD_SEGMENT
                continue
            place = {"offset": row.offset, "duration": row.duration, "channel": channel}
            assert np.array_equal(one.samples, read_audio(path, **place))


def test_rows_stand_together_only_within_a_stretch_of_one_recording() -> None:
    a, b = Path("/a.mp3"), Path("/b.mp3")
    far = WINDOW_SECONDS - 1
    rows = [
        *pieces(a, (0, 1), (1, 1), (0.5, 1)),  # the third goes back
        *pieces(a, (far, 2)),  # far from the third
        *pieces(a, (far + 1, float("nan"))),
        *pieces(b, (far + 2, 1)),
        *pieces(b, (far + 3, 1), channel=1),
        Utterance("whole", "b", AudioFile(str(b))),
    ]
    groups = [len(group) for group in recordings(iter(rows))]
    assert groups == [2, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("deaths", "reason"), [(1, Reason.OK), (2, Reason.DECODE_ERROR)])
def test_a_decoder_must_die_twice_on_a_recording(
    tmp_path: Path, deaths: int, reason: Reason
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode(sound(1, 0.5)))
    decoder = RecordingDecoder(max_seconds=9.0, timeout_seconds=600.0)
    decoder.child = Counting(deaths, timeout_seconds=600.0)
    (first,) = decoder.decode(str(path), pieces(path, (0.0, 0.5)))
    (second,) = decoder.decode(str(path), pieces(path, (0.0, 0.5)))
    decoder.child.close()
    assert (first.reason, second.reason) == (reason, Reason.OK)


def test_a_decoder_that_hangs_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode(sound(1, 0.5)))
    decoder = RecordingDecoder(max_seconds=9.0, timeout_seconds=1e-6)
    decoder.child = Counting(timeout_seconds=1e-6)
    (row,) = decoder.decode(str(path), pieces(path, (0.0, 0.5)))
    decoder.child.close()
    assert row.reason is Reason.TIMEOUT
    assert len(decoder.child.asked) == 2


@pytest.fixture
def feed_of() -> Iterator[Callable[..., Feed]]:
    """Makes a feed of a folder of recordings."""
    feeds: list[Feed] = []

    def make(folder: Path, seconds: float, rows_per_shard: int = 100) -> Feed:
        limits = {"max_seconds": 100.0, "timeout_seconds": 600.0}
        manifest = open_manifest(folder, work=folder.parent / "work")
        feeds.append(Feed(manifest, rows_per_shard, decoders=2, ahead_seconds=seconds, **limits))
        return feeds[-1]

    yield make
    for feed in feeds:
        feed.close()


def test_rows_come_in_order_and_no_more_than_the_budget_are_ahead(
    tmp_path: Path, feed_of: Callable[..., Feed]
) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    for k in range(30):
        (folder / f"{k:02}.wav").write_bytes(encode(sound(k, 0.5)))
    (folder / "07.wav").write_bytes(b"")
    feed = feed_of(folder, seconds=62.0)  # a row counts 30 s until its length is known
    feed.enqueue(0)
    shard, rows = feed.take()
    assert shard == 0
    before = len(seen_after_rest(feed))
    assert before <= 124
    names = [row.utterance.id for row in rows]
    assert names == [f"{k:02}" for k in range(30)]
    feed.close()
    with pytest.raises(FeedClosedError):
        feed.take()


def seen_after_rest(feed: Feed) -> list[object]:
    """What has been read ahead once nothing more comes."""
    count = -1
    while count != feed._ready.qsize():
        count = feed._ready.qsize()
        time.sleep(0.3)
    return [None] * count


def test_a_small_budget_still_lets_one_recording_pass(
    tmp_path: Path, feed_of: Callable[..., Feed]
) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    for k in range(6):
        (folder / f"{k}.wav").write_bytes(encode(sound(k, 0.5)))
    feed = feed_of(folder, seconds=0.01, rows_per_shard=3)
    feed.enqueue(1)
    feed.enqueue(0)
    _, rows = feed.take()
    assert len(seen_after_rest(feed)) == 1
    assert [row.utterance.id for row in rows] == ["3", "4", "5"]
    assert [row.utterance.id for row in feed.take()[1]] == ["0", "1", "2"]


def test_a_budget_counts_what_is_taken_and_given_back() -> None:
    budget = Budget(10)
    assert budget.acquire(8)
    budget.add(-5)
    assert budget.acquire(7)
    budget.add(-10)
    assert budget.acquire(1000)  # alone, whatever its size
    budget.close()
    assert not budget.acquire(1)


def test_rows_that_were_replaced_meanwhile_stop_the_shard(
    tmp_path: Path, feed_of: Callable[..., Feed]
) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    for k in range(3):
        (folder / f"{k}.wav").write_bytes(encode(sound(k, 0.5)))
    feed = feed_of(folder, seconds=10.0)
    (folder / "2.wav").rename(folder / "4.wav")  # rows of the same length, so each block is read
    open_manifest(folder, work=tmp_path / "work")
    feed.enqueue(0)
    _, rows = feed.take()
    with pytest.raises(ManifestError, match="replaced by another one"):
        list(rows)


def units_of(wave: Float32) -> Units:
    return Units(np.array([wave.size], np.int32), np.array([1], np.int32))


@pytest.mark.parametrize("kind", [MemoryError, "OutOfMemoryError", RuntimeError])
def test_out_of_memory_halves_the_calls(kind: type[Exception] | str) -> None:
    error = type(kind, (RuntimeError,), {}) if isinstance(kind, str) else kind
    sizes: list[int] = []

    def encode_some(waves: list[Float32]) -> list[Units]:
        sizes.append(sum(wave.size for wave in waves))
        if sizes[-1] > 100:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        return [units_of(wave) for wave in waves]

    rng = np.random.default_rng(0)
    waves = [np.zeros(size, np.float32) for size in rng.integers(1, 60, 100)]
    packs = Packs(encode_some, 800)
    got = [units for pack in packs.cut(waves, len) for units in packs.encode(pack)]
    assert got == [units_of(wave) for wave in waves]
    assert packs.limit <= 100
    assert sum(size > 100 for size in sizes) <= 4
    (refused,) = packs.encode([np.zeros(101, np.float32)])
    assert isinstance(refused, AudioError)
    assert refused.reason is Reason.TOO_LONG
    assert "101 samples" in str(refused)


def test_other_errors_of_the_encoder_are_no_lack_of_memory() -> None:
    def encode_some(waves: list[Float32]) -> list[Units]:
        if waves[0][0] > 5:
            raise RuntimeError("an illegal memory access was encountered")
        if any(wave[0] > 1 for wave in waves):
            raise InputError("NaN in row 3")
        return [units_of(wave) for wave in waves]

    packs = Packs(encode_some, 100)
    waves = [np.full(5, value, np.float32) for value in (0, 2, 0, 1)]
    statuses = [getattr(one, "reason", Reason.OK) for one in packs.encode(waves)]
    assert statuses == [Reason.OK, Reason.NON_FINITE, Reason.OK, Reason.OK]
    with pytest.raises(RuntimeError, match="illegal memory"):
        packs.encode([np.full(5, 6, np.float32)])


def test_packs_hold_what_fits_and_never_nothing() -> None:
    packs = Packs(lambda waves: [], 10)
    assert list(packs.cut([3, 3, 4, 1, 20, 2, 9, 1], lambda size: size)) == [
        [3, 3, 4],
        [1],
        [20],
        [2],
        [9, 1],
    ]
    packs.limit = 0
    assert list(packs.cut([3, 0, 4], lambda size: size)) == [[3], [0], [4]]
