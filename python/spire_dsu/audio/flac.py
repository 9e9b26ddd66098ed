"""FLAC: the declared length held against the last frame, and a cut told from damage.

The decoder checks every frame's CRC, but believes the header's length: a header that declares less
hides the rest. Each frame carries its own position, so the last one, found from the end of the
file, says how long the audio is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from spire_dsu.audio.layout import Layout
from spire_dsu.audio.source import Source
from spire_dsu.errors import Reason

_MOST_BLOCKS = 1024
_TAIL_BYTES = 1 << 14
_SAMPLE_BITS = (None, 8, 12, None, 16, 20, 24, 32)
_STREAM_STARTS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The header's facts (STREAMINFO); `total` is 0 where the length is not declared."""

    total: int
    channels: int
    bits: int
    block: int
    largest_frame: int
    first_frame: int


def read_stream_info(source: Source, start: int) -> StreamInfo:
    """Reads the header at byte `start` and finds the first frame behind all metadata.

    Raises:
        AudioError: TRUNCATED inside the metadata, DECODE_ERROR where the header is none.
    """
    head = source.read_at(start, 42)
    if len(head) < 42:
        raise source.error(Reason.TRUNCATED, f"{source.size} bytes, inside its header")
    if head[4] & 0x7F or head[5:8] != b"\x00\x00\x22":
        raise source.error(Reason.DECODE_ERROR, "FLAC without STREAMINFO")
    packed = int.from_bytes(head[18:26], "big")  # rate 20 bits, channels 3, bits 5, total 36
    at, last = start + 4, False
    for _ in range(_MOST_BLOCKS):
        block = source.read_at(at, 4)
        if len(block) < 4:
            raise source.error(Reason.TRUNCATED, f"{source.size} bytes, inside its metadata")
        at += 4 + int.from_bytes(block[1:], "big")
        last = bool(block[0] & 0x80)
        if last:
            break
    if at > source.size:
        raise source.error(Reason.TRUNCATED, f"{source.size} bytes, inside its metadata")
    if not last:
        raise source.error(Reason.DECODE_ERROR, f"over {_MOST_BLOCKS} blocks of FLAC metadata")
    return StreamInfo(
        total=packed & (1 << 36) - 1,
        channels=(packed >> 41 & 7) + 1,
        bits=(packed >> 36 & 31) + 1,
        block=int.from_bytes(head[10:12], "big"),
        largest_frame=int.from_bytes(head[15:18], "big"),
        first_frame=at,
    )


def examine_flac(source: Source, start: int) -> Layout:
    """The declared length; the audio itself is checked once it is decoded."""
    total = read_stream_info(source, start).total
    return Layout("flac", total or None, exact_seek=bool(total))


def check_decoded(source: Source, start: int, decoded: int) -> None:
    """Holds a file that was decoded to its declared end against what else is in it.

    Args:
        source: the recording.
        start: the byte where the stream starts.
        decoded: samples per channel that came out, all that the header declares.

    Raises:
        AudioError: DECODE_ERROR, there is more audio than the header declares.
    """
    info = read_stream_info(source, start)
    last = 0
    for _, end in _frames_in_tail(source, info):
        last = max(last, end)
        if end == decoded:
            break
    else:
        if last > decoded:
            raise source.error(
                Reason.DECODE_ERROR, f"declares {decoded} samples, its last frame ends at {last}"
            )
    # The decoder has read to the end of the declared audio, and at most its own buffer further.
    behind = max(start + 4, os.lseek(source.fd, 0, os.SEEK_CUR) - _TAIL_BYTES)
    where = source.find(behind, *_STREAM_STARTS)
    if where is not None:
        raise source.error(Reason.DECODE_ERROR, f"a second recording starts at byte {where}")


def is_cut(source: Source, start: int) -> bool:
    """Whether the file ends inside a frame, asked after the decoder failed."""
    info = read_stream_info(source, start)
    tail_start, tail = _tail(source, info)
    if tail[-128:-125] == b"TAG":  # ID3v1, which some taggers append to anything
        tail = tail[:-128]
    return not any(_crc16(tail[at - tail_start :]) == 0 for at, _ in _frames_in_tail(source, info))


def _tail(source: Source, info: StreamInfo) -> tuple[int, bytes]:
    window = min(2 * info.largest_frame, 1 << 20) or 4 * _TAIL_BYTES
    window = max(_TAIL_BYTES, window)
    start = max(info.first_frame, source.size - window)
    return start, source.read_at(start, window)


def _frames_in_tail(source: Source, info: StreamInfo) -> Iterator[tuple[int, int]]:
    """(byte, first sample behind the frame) of what has a valid frame header, from the last on."""
    sync = source.read_at(info.first_frame, 2)
    if sync not in (b"\xff\xf8", b"\xff\xf9"):
        return
    start, tail = _tail(source, info)
    at = len(tail)
    while (at := tail.rfind(sync, 0, at)) >= 0:
        end = _frame_end(tail[at : at + 16], info)
        if end is not None:
            yield start + at, end


def _frame_end(head: bytes, info: StreamInfo) -> int | None:
    """The first sample behind the frame with this header; None for bytes that are no header of this
    stream.
    """
    if len(head) < 6 or head[3] & 1:
        return None
    size_code, channel_code = head[2] >> 4, head[3] >> 4
    channels = channel_code + 1 if channel_code < 8 else 2
    bits = _SAMPLE_BITS[head[3] >> 1 & 7] if head[3] >> 1 & 7 else info.bits
    if channel_code > 10 or channels != info.channels or bits != info.bits or size_code == 0:
        return None
    extra = max(0, 8 - (head[4] ^ 0xFF).bit_length() - 1)  # bytes that continue the coded number
    number = head[4] & (0x7F >> extra if extra else 0x7F)
    for byte in head[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    at = 5 + extra
    if size_code in (6, 7):
        width = size_code - 5
        block = int.from_bytes(head[at : at + width], "big") + 1
        at += width
    else:
        block = (
            192
            if size_code == 1
            else 576 << size_code - 2
            if size_code < 6
            else 256 << size_code - 8
        )
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)  # a sampling rate written out
    if at >= len(head) or _crc8(head[: at + 1]) != 0:
        return None
    return (number if head[1] & 1 else number * info.block) + block


def _crc_table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
            value &= (1 << bits) - 1
        table.append(value)
    return table


_CRC8 = _crc_table(0x07, 8)
_CRC16 = _crc_table(0x8005, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = value << 8 & 0xFFFF ^ _CRC16[value >> 8 ^ byte]
    return value
