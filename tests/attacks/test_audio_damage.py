"""Files that were cut, changed, overwritten with zeros, or glued: whole or refused, never half."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
from audio_makers import (
    encode,
    flac_of_constants,
    flipped,
    ogg_pages,
    sealed,
    voice,
    with_flac_total,
    zero_tail,
)

from spire_dsu.audio import read_audio
from spire_dsu.errors import AudioError, Reason

ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(48)


@functools.cache
def whole(kind: str) -> bytes:
    """A second of sound; "MP3 bare" and "FLAC open" do not declare its length."""
    if kind == "FLAC open":
        return with_flac_total(whole("FLAC"), 0)
    if kind == "MP3 bare":
        data = whole("MP3")
        return data[data.find(b"\xff\xf3", 4) :]
    return encode(voice(1.0), kind)


def reason(data: bytes) -> Reason:
    with pytest.raises(AudioError) as caught:
        read_audio(data)
    return caught.value.reason


KINDS = ["WAV", "W64", "RF64", "AIFF", "AU", "NIST", "FLAC", "VORBIS", "OPUS", "MP3"]


@pytest.mark.parametrize("kind", [*KINDS, "FLAC open", "MP3 bare"])
def test_the_whole_file_is_taken(kind: str) -> None:
    assert abs(read_audio(whole(kind)).size - 16_000) <= 2 * 1152


@pytest.mark.parametrize("kind", [*KINDS, "FLAC open", "MP3 bare"])
@pytest.mark.parametrize(
    "cut", [4, 44, 0.01, 0.5, 0.999], ids=["4 bytes", "44 bytes", "1 %", "half", "99.9 %"]
)
def test_a_cut(kind: str, cut: float) -> None:
    data = whole(kind)
    keep = cut if isinstance(cut, int) else int(len(data) * cut)
    if kind == "MP3 bare":
        keep += keep % 108 == 0  # all frames have 108 bytes; a cut between two cannot be found
    assert reason(data[:keep]) is Reason.TRUNCATED


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OPUS", "MP3"])
def test_one_byte_less(kind: str) -> None:
    assert reason(whole(kind)[:-1]) is Reason.TRUNCATED


@pytest.mark.parametrize("left", [1, 2, 3])
def test_an_mp3_cut_inside_the_header_of_a_frame(left: int) -> None:
    data = whole("MP3 bare")
    border = data.find(data[:2], len(data) // 2)
    assert read_audio(data[:border]).size > 0  # between two frames: cannot be found
    assert reason(data[: border + left]) is Reason.TRUNCATED


def test_nothing_at_all() -> None:
    assert reason(b"") is Reason.EMPTY


def test_a_stream_of_pages_cut_between_two() -> None:
    pages = ogg_pages(whole("VORBIS"))
    assert reason(b"".join(pages[:-1])) is Reason.TRUNCATED


def test_a_flac_cut_between_two_frames() -> None:
    frames = [4096] * 8
    data = flac_of_constants(frames)
    assert read_audio(data).size == sum(frames)
    assert reason(flac_of_constants(frames[:-1], total=sum(frames))) is Reason.TRUNCATED


@pytest.mark.parametrize("kind", ["FLAC", "FLAC open", "VORBIS", "OPUS", "MP3"])
def test_a_tail_of_zeros(kind: str) -> None:
    assert reason(zero_tail(whole(kind))) is Reason.TRUNCATED


@pytest.mark.parametrize("kind", ["FLAC", "VORBIS", "OPUS"])
def test_a_changed_bit_is_found_wherever_it_is(kind: str) -> None:
    data = whole(kind)
    expected = read_audio(data)
    places = np.random.default_rng(5).integers(0, len(data), 100)
    found = 0
    for at in places.tolist():
        try:
            samples = read_audio(flipped(data, at, at % 8))
        except AudioError:
            found += 1
        else:  # a bit that means nothing for the sound: a tag, padding, a checksum of nothing
            np.testing.assert_array_equal(samples, expected)
    assert found > 50


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "MP3", "MP3 bare"])
def test_a_changed_bit_where_nothing_guards_it_keeps_the_length(kind: str) -> None:
    data = whole(kind)
    length = read_audio(data).size
    for at in np.random.default_rng(6).integers(120, len(data), 100).tolist():
        with contextlib.suppress(AudioError):
            # The last frame of an MP3 is junk when its header is damaged.
            assert 0 <= length - read_audio(flipped(data, at, at % 8)).size <= 576


def test_a_changed_bit_in_the_middle_is_damage_not_a_cut() -> None:
    for kind in ("FLAC", "VORBIS", "OPUS"):
        data = whole(kind)
        assert reason(flipped(data, len(data) // 2)) is Reason.DECODE_ERROR


def test_a_lost_page() -> None:
    pages = ogg_pages(encode(voice(5.0), "VORBIS"))
    assert len(pages) > 4
    assert reason(b"".join(pages[:3] + pages[4:])) is Reason.DECODE_ERROR


def test_pages_in_another_order() -> None:
    pages = ogg_pages(encode(voice(5.0), "VORBIS"))
    pages[2], pages[3] = pages[3], pages[2]
    assert reason(b"".join(pages)) is Reason.DECODE_ERROR


def test_a_page_of_another_stream() -> None:
    pages = ogg_pages(encode(voice(5.0), "VORBIS"))
    pages[3] = sealed(pages[3][:14] + b"evil" + pages[3][18:])
    assert reason(b"".join(pages)) is Reason.DECODE_ERROR


def test_a_stream_that_starts_in_its_middle() -> None:
    pages = ogg_pages(encode(voice(5.0), "VORBIS"))
    assert reason(b"".join(pages[2:])) is Reason.DECODE_ERROR


def test_bytes_between_mp3_frames() -> None:
    data = whole("MP3 bare")
    assert reason(data[: 108 * 20] + b"garbage" + data[108 * 20 :]) is Reason.DECODE_ERROR


def test_an_mp3_without_a_frame_in_its_middle() -> None:
    data = whole("MP3")
    at = data.find(b"\xff\xf3", len(data) // 2)
    end = data.find(data[at : at + 3], at + 24)
    assert reason(data[:at] + data[end:]) is Reason.TRUNCATED


@pytest.mark.parametrize("kind", ["WAV", "W64", "FLAC", "VORBIS", "OPUS", "MP3", "MP3 bare"])
@pytest.mark.parametrize(
    "junk", [b"garbage!" * 1000, b"\n", ID3V1], ids=["8,000 bytes", "one byte", "ID3v1"]
)
def test_junk_behind_a_complete_recording_is_passed_over(kind: str, junk: bytes) -> None:
    np.testing.assert_array_equal(read_audio(whole(kind) + junk), read_audio(whole(kind)))


def test_tags_behind_an_mp3() -> None:
    for kind in ("MP3", "MP3 bare"):
        expected = read_audio(whole(kind))
        for tags in (APE + ID3V1, b"TAG+" + bytes(223) + ID3V1):
            np.testing.assert_array_equal(read_audio(whole(kind) + tags), expected)


@pytest.mark.parametrize("kind", ["FLAC open"])
def test_junk_behind_a_stream_of_undeclared_length_is_refused(kind: str) -> None:
    assert reason(whole(kind) + b"garbage!" * 1000) is Reason.TRUNCATED


@pytest.mark.parametrize("kind", ["WAV", "RF64", "FLAC", "FLAC open", "VORBIS", "OPUS", "MP3"])
def test_two_recordings_in_one_file(kind: str) -> None:
    assert reason(whole(kind) * 2) is Reason.DECODE_ERROR


def test_two_recordings_behind_junk() -> None:
    for kind in ("FLAC", "VORBIS"):
        assert reason(whole(kind) + b"junk" * 30_000 + whole(kind)) is Reason.DECODE_ERROR
    assert reason(whole("MP3 bare") + ID3V1 + whole("MP3")) is Reason.DECODE_ERROR


def test_two_bare_mp3_streams_are_one_longer_recording() -> None:
    once, twice = (read_audio(whole("MP3 bare") * n) for n in (1, 2))
    assert abs(twice.size - 2 * once.size) <= 1152


def test_a_recording_of_another_kind_behind_the_first() -> None:
    bare = whole("MP3 bare")
    other = encode(voice(0.5, 44_100), "MP3", 44_100)
    assert reason(bare + other[other.find(b"\xff\xfb") :]) is Reason.DECODE_ERROR
    assert reason(whole("WAV") + whole("FLAC")[:0] + whole("RF64")) is Reason.DECODE_ERROR
