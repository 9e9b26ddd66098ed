"""Headers that lie, and small files that decode to very much: nothing is allocated or believed from
them.
"""

from __future__ import annotations

import functools
import struct
import tracemalloc

import numpy as np
import pytest
from audio_makers import (
    chunk,
    encode,
    flac_header,
    flac_of_constants,
    ogg_pages,
    pcm16,
    sealed,
    voice,
    wav,
    with_flac_total,
)

from spire_dsu.audio import read_audio
from spire_dsu.errors import AudioError, Reason

SOUND = voice(0.3)
BODY = pcm16(SOUND)
FLAC = encode(SOUND, "FLAC")
LIST = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"call"))


def reason(data: bytes, **options: object) -> Reason:
    with pytest.raises(AudioError) as caught:
        read_audio(data, **options)
    return caught.value.reason


def is_the_sound(data: bytes) -> bool:
    samples = read_audio(data)
    return samples.shape == SOUND.shape and bool(np.abs(samples - SOUND).max() <= 2**-15)


def rf64(data_size: int, riff_size: int = 0) -> bytes:
    """An RF64 file whose true sizes stand in its ds64 chunk."""
    sizes = chunk(b"ds64", struct.pack("<QQQI", riff_size, data_size, 0, 0))
    plain = wav(BODY, data_size=0xFFFFFFFF)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + plain[12:]


TAKEN = {
    "stream with size 0": wav(BODY, data_size=0, riff_size=0),
    "stream with size 2^32-1": wav(BODY, data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF),
    "stream of ffmpeg with a LIST": wav(BODY, data_size=0xFFFFFFFF, before=LIST),
    "stream of sox": wav(BODY, data_size=0x7FFFF000, riff_size=0x7FFFF024),
    "stream of arecord": wav(BODY, data_size=0x80000000, riff_size=0x80000024),
    "riff size 0": wav(BODY, riff_size=0),
    "riff size too large": wav(BODY, riff_size=1 << 30),
    "chunk behind the samples": wav(BODY, after=LIST),
    "odd chunk with its pad": wav(BODY, before=chunk(b"LIST", b"INFOx")),
    "RF64": rf64(len(BODY), len(BODY) + 100),
    "RF64 of a stream": rf64(0),
    "byte rate that lies": wav(BODY)[:28] + b"\x01\0\0\0" + wav(BODY)[32:],
    "FLAC of undeclared length": with_flac_total(FLAC, 0),
}
LIES = {
    "WAV declares one sample more": (wav(BODY, data_size=len(BODY) + 2), Reason.TRUNCATED),
    "WAV declares 2^31 - 2^20 bytes": (wav(BODY, data_size=0x7FF00000), Reason.TRUNCATED),
    "RF64 declares 2^40 bytes": (rf64(1 << 40), Reason.TRUNCATED),
    "WAV with 0 bytes of samples": (wav(b""), Reason.EMPTY),
    "WAV with 0 bytes, then a LIST": (wav(b"", after=LIST), Reason.EMPTY),
    "WAV header alone, size of a stream": (wav(b"", data_size=0xFFFFFFFF), Reason.EMPTY),
    "odd chunk without its pad": (
        wav(BODY, before=chunk(b"LIST", b"INFOx", pad=False)),
        Reason.DECODE_ERROR,
    ),
    "no data chunk": (wav(BODY).replace(b"data", b"dada"), Reason.DECODE_ERROR),
    "no fmt chunk": (wav(BODY).replace(b"fmt ", b"fmtx"), Reason.DECODE_ERROR),
    "two streams glued": (wav(BODY, data_size=0) * 2, Reason.DECODE_ERROR),
    "0 channels": (wav(BODY, channels=0, align=2), Reason.DECODE_ERROR),
    "65,535 channels": (wav(BODY, channels=65_535, align=2), Reason.DECODE_ERROR),
    "rate 0": (wav(BODY, rate=0), Reason.DECODE_ERROR),
    "rate 1": (wav(BODY, rate=1), Reason.DECODE_ERROR),
    "rate 2^31": (wav(BODY, rate=1 << 31), Reason.DECODE_ERROR),
    "rate 2^32-1": (wav(BODY, rate=0xFFFFFFFF), Reason.DECODE_ERROR),
    "rate 1,000,000": (wav(BODY, rate=1_000_000), Reason.DECODE_ERROR),
    "0 bits": (wav(BODY, bits=0, align=2), Reason.DECODE_ERROR),
    "1 bit": (wav(BODY, bits=1, align=2), Reason.DECODE_ERROR),
    "64 bits of PCM": (wav(BODY, bits=64), Reason.DECODE_ERROR),
    "65,535 bits": (wav(BODY, bits=65_535, align=2), Reason.DECODE_ERROR),
    "a coding of no one": (wav(BODY, coding=0x4242), Reason.DECODE_ERROR),
    "MP3 inside a WAV": (wav(encode(SOUND, "MP3"), coding=0x55, bits=0), Reason.DECODE_ERROR),
    "RIFF of a film": (b"RIFF\x10\0\0\0AVI " + bytes(100), Reason.DECODE_ERROR),
    "FORM of a picture": (b"FORM\0\0\0\x10ILBM" + bytes(100), Reason.DECODE_ERROR),
    "FLAC declares 2^36-1": (with_flac_total(FLAC, (1 << 36) - 1), Reason.TOO_LONG),
    "FLAC declares one sample more": (with_flac_total(FLAC, SOUND.size + 1), Reason.TRUNCATED),
    "FLAC declares one sample less": (with_flac_total(FLAC, SOUND.size - 1), Reason.DECODE_ERROR),
    "FLAC declares one sample": (with_flac_total(FLAC, 1), Reason.DECODE_ERROR),
    "FLAC header alone": (flac_header(16_000), Reason.TRUNCATED),
    "FLAC header alone, undeclared": (flac_header(0), Reason.EMPTY),
    "FLAC rate 0": (flac_header(100, rate=0), Reason.DECODE_ERROR),
    "FLAC metadata without end": (b"fLaC" + b"\x00\x00\x00\x22" + bytes(34), Reason.TRUNCATED),
    "FLAC without STREAMINFO": (b"fLaC\x84\x00\x00\x04" + bytes(60), Reason.DECODE_ERROR),
    "ID3 tag larger than the file": (b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + FLAC, Reason.TRUNCATED),
    "ID3 tag before a WAV": (b"ID3\x04\0\0\0\0\0\x05" + bytes(5) + wav(BODY), Reason.DECODE_ERROR),
    "AIFF declares more": (encode(SOUND, "AIFF")[:-100], Reason.TRUNCATED),
    "NIST without its fields": (b"NIST_1A\n   1024\nend_head\n".ljust(2048), Reason.DECODE_ERROR),
    "Ogg of one page without audio": (
        sealed(b"OggS\0\x06" + bytes(20) + b"\x01\x05hello"),
        Reason.DECODE_ERROR,
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_unusual_but_honest(name: str) -> None:
    assert is_the_sound(TAKEN[name])


@pytest.mark.parametrize("name", LIES)
def test_lie(name: str) -> None:
    data, expected = LIES[name]
    assert reason(data) is expected


@pytest.mark.parametrize(("bits", "coding"), [(8, 1), (12, 1), (24, 1), (64, 3)])
def test_widths_of_a_sample(bits: int, coding: int) -> None:
    width = (bits + 7) // 8
    data = wav(bytes(400 * width), bits=bits, coding=coding, align=width)
    assert read_audio(data).size == 400


def test_an_id3_tag_before_a_flac_and_an_mp3() -> None:
    tag = b"ID3\x04\0\0\0\0\0\x05" + bytes(5)
    for kind in ("FLAC", "MP3"):
        data = encode(SOUND, kind)
        np.testing.assert_array_equal(read_audio(tag + data), read_audio(data))


def test_an_mp3_that_declares_more_and_fewer_frames() -> None:
    data = encode(SOUND, "MP3")
    at = max(data.find(b"Xing"), data.find(b"Info"))
    count = int.from_bytes(data[at + 8 : at + 12], "big")
    for declared, expected in (
        (count + 1, Reason.TRUNCATED),
        (0xFFFFFFFF, Reason.TRUNCATED),
        (count - 1, Reason.DECODE_ERROR),
    ):
        size_unknown = data[: at + 4] + b"\0\0\0\x01" + declared.to_bytes(4, "big")
        assert reason(size_unknown + data[at + 12 :]) is expected


def test_mp3_with_changing_bitrates_and_no_declared_length_is_read_to_its_end() -> None:
    # The decoder guesses the length of such a file from its first frame, here far too short.
    quiet, loud = (encode(s, "MP3", 44_100) for s in (voice(2, 44_100) * 0, voice(2, 44_100)))
    frames = [data[data.find(b"\xff\xfb", 300) :] for data in (loud, quiet)]
    joined = frames[0] + frames[1]
    seconds = read_audio(joined).size / 16_000
    assert 3.9 <= seconds <= 4.2


def test_ogg_that_declares_another_length() -> None:
    pages = ogg_pages(encode(SOUND, "VORBIS"))
    last = pages[-1]
    longer = sealed(last[:6] + struct.pack("<q", 1 << 40) + last[14:])
    assert abs(read_audio(b"".join([*pages[:-1], longer])).size - SOUND.size) < 1024
    pages = ogg_pages(encode(voice(5.0), "VORBIS"))
    back = sealed(pages[-1][:6] + struct.pack("<q", 10) + pages[-1][14:])
    assert reason(b"".join([*pages[:-1], back])) is Reason.DECODE_ERROR


@pytest.mark.parametrize("total", [(1 << 36) - 1, 0], ids=["declared", "undeclared"])
def test_memory_follows_the_audio_not_the_header(total: int) -> None:
    data = with_flac_total(FLAC, total)
    tracemalloc.start()
    try:
        if total:
            assert reason(data, max_seconds=float("inf")) is Reason.TRUNCATED
        else:
            read_audio(data, max_seconds=float("inf"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20


@functools.cache
def bomb() -> bytes:
    """25 hours of silence in 310 KB: 14 bytes a frame of 65,535 samples."""
    return flac_of_constants([65_535] * 22_000, block=65_535)


def test_a_small_file_with_a_day_of_silence() -> None:
    assert len(bomb()) < 400_000
    assert reason(bomb()) is Reason.TOO_LONG


def test_a_limit_bounds_the_work_of_an_undeclared_length() -> None:
    open_end = with_flac_total(bomb(), 0)
    tracemalloc.start()
    try:
        assert reason(open_end, max_seconds=600.0) is Reason.TOO_LONG
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 600 * 16_000 * 4 + (32 << 20)


def test_an_hour_of_digital_silence_is_audio() -> None:
    data = flac_of_constants([65_535] * 878 + [60_270], block=65_535)
    assert len(data) < 13_000
    assert read_audio(data).size == 57_600_000
