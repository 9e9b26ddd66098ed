"""MPEG audio (MP3): all frames walked, because the decoder skips what it cannot read and plays on.

Frames carry no position and rarely a checksum. A cut between two frames, in a file whose first
frame holds no frame count, and damage inside a frame cannot be found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from spire_dsu.audio.layout import Layout, damaged
from spire_dsu.audio.source import Source
from spire_dsu.errors import Reason

_WINDOW = 1 << 20
_V1, _V2, _V25 = 3, 2, 0
_RATES = {_V1: (44100, 48000, 32000), _V2: (22050, 24000, 16000), _V25: (11025, 12000, 8000)}
# kbit/s by (version 1 or not, layer), for the codes 1 to 14.
_KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True, slots=True)
class FrameKind:
    """What every frame of one recording shares: version, layer, rate, one channel or two.

    Attributes:
        second_byte: of the header, with the bit that says "no checksum" set.
        mono: one channel.
        samples: per channel and frame.
        lengths: bytes of a frame by the third byte of its header, 0 where that is invalid.
    """

    second_byte: int
    mono: bool
    samples: int
    lengths: tuple[int, ...]

    @property
    def side_bytes(self) -> int:
        """From the start of a layer III frame to where its first frame may hold the recording's
        length.
        """
        if self.second_byte >> 3 & 3 == _V1:
            return 4 + (17 if self.mono else 32)
        return 4 + (9 if self.mono else 17)


@lru_cache(maxsize=64)
def _kind(second_byte: int, rate_code: int, mono: bool) -> FrameKind | None:
    version, layer = second_byte >> 3 & 3, 4 - (second_byte >> 1 & 3)
    if version == 1 or layer == 4 or rate_code == 3:
        return None
    rate = _RATES[version][rate_code]
    lengths = [0] * 256
    for code, kbits in enumerate(_KBITS[version == _V1, layer], start=1):
        for padding in (0, 1):
            if layer == 1:
                size = (12_000 * kbits // rate + padding) * 4
            else:
                halved = layer == 3 and version != _V1
                size = (72_000 if halved else 144_000) * kbits // rate + padding
            for private in (0, 1):
                lengths[code << 4 | rate_code << 2 | padding << 1 | private] = size
    samples = 384 if layer == 1 else 576 if layer == 3 and version != _V1 else 1152
    return FrameKind(second_byte, mono, samples, tuple(lengths))


def kind_of(header: bytes) -> FrameKind | None:
    """The kind of frame that these four bytes start, None where they start none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    return _kind(header[1] | 1, header[2] >> 2 & 3, header[3] >> 6 == 3)


@dataclass(frozen=True, slots=True)
class InfoFrame:
    """A first frame without sound ("Xing", "Info"), with the frames and bytes that it declares."""

    frames: int | None
    size: int | None


def examine_mpeg(source: Source, start: int) -> Layout:
    """Walks all frames from byte `start`.

    Raises:
        AudioError: TRUNCATED, the file ends inside a frame or before the declared number of them.
            DECODE_ERROR, other bytes between frames, or more frames than declared.
    """
    kind = kind_of(source.read_at(start, 4))
    if kind is None:
        raise source.error(Reason.DECODE_ERROR, f"no MPEG audio frame at byte {start}")
    count, at, cut = _walk(source, start, kind)
    info = _info_frame(source, start, kind)
    declared = info.frames if info else None
    audio = max(0, count - 1) if info else count
    behind = _skip_tags(source, at)
    rewritten = None
    if not cut and behind < source.size:
        rewritten = functools.partial(source.copy, 0, at)  # the decoder complains of junk
        _check_rest(source, behind, kind, whole=declared is not None and audio >= declared)
    if declared is None:
        if cut:
            raise source.error(Reason.TRUNCATED, f"ends inside the frame at byte {at}")
        return Layout("mp3", limit=audio * kind.samples, rewritten=rewritten)
    if audio > declared:
        raise source.error(
            Reason.DECODE_ERROR, f"declares {declared} frames and holds {audio}: two recordings"
        )
    if audio == declared:
        return Layout("mp3", decoder_counts=True, rewritten=rewritten)
    if info and info.size == at - start:  # the encoder counted otherwise, but all bytes are there
        return Layout("mp3", rewritten=rewritten)
    raise source.error(Reason.TRUNCATED, f"declares {declared} frames and holds {audio}")


def with_declared_length(source: Source, start: int) -> Iterator[bytes]:
    """The same frames behind one that declares their number.

    Where none does, the decoder guesses the length from the first frame's bitrate, and with
    variable bitrates stops early.
    """
    first = source.read_at(start, 4)
    kind = kind_of(first)
    assert kind is not None
    count, end, _ = _walk(source, start, kind)
    if _info_frame(source, start, kind):
        start += kind.lengths[first[2]]
        count -= 1
    # The smallest frame that has room for the declaration, marked as without a checksum.
    room = kind.side_bytes + 12
    third = min(
        byte for byte, length in enumerate(kind.lengths) if length >= room and not byte & 0x03
    )
    frame = bytes([0xFF, first[1] | 1, third, first[3]]).ljust(kind.side_bytes, b"\0")
    frame += b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    yield frame.ljust(kind.lengths[third], b"\0")
    yield from source.copy(start, end)


def _walk(source: Source, start: int, kind: FrameKind) -> tuple[int, int, bool]:
    """(frames of this kind in a row, the byte behind them, whether half a frame follows)."""
    second, mono, lengths = kind.second_byte, kind.mono, kind.lengths
    at, count, length = start, 0, 0
    while len(window := source.read_at(at, _WINDOW)) >= 4:
        i, last = 0, len(window) - 4
        while i <= last:
            same = window[i] == 0xFF and window[i + 1] | 1 == second
            length = lengths[window[i + 2]] if same and (window[i + 3] >> 6 == 3) == mono else 0
            if not length:
                return count, at + i, False
            i += length
            count += 1
        at += i
    if at > source.size:
        return count - 1, at - length, True
    return count, at, source.read_at(at, 1) == b"\xff"  # under four bytes: the start of a header


def _info_frame(source: Source, start: int, kind: FrameKind) -> InfoFrame | None:
    if kind.second_byte >> 1 & 3 != 1:
        return None
    head = source.read_at(start, kind.side_bytes + 18)
    at = kind.side_bytes + (0 if head[1] & 1 else 2)  # a checksum of two bytes stands in between
    if head[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags, *fields = (int.from_bytes(head[i : i + 4], "big") for i in range(at + 4, at + 16, 4))
    frames = fields.pop(0) if flags & 1 else None
    return InfoFrame(frames or None, fields.pop(0) if flags & 2 else None)


def _skip_tags(source: Source, at: int) -> int:
    """The byte behind ID3v1 and APE tags that follow the last frame."""
    while at < source.size:
        head = source.read_at(at, 16)
        if head.startswith(b"TAG+"):
            at += 227
        elif head.startswith(b"TAG"):
            at += 128
        elif head.startswith(b"APETAGEX"):
            at += 32 + int.from_bytes(head[12:16], "little")  # the size leaves the header out
        else:
            break
    return at


def _check_rest(source: Source, at: int, kind: FrameKind, whole: bool) -> None:
    """Judges bytes behind the last frame and its tags: junk is passed over, lost audio is not."""
    rest = source.read_at(at, _WINDOW)
    if rest[:3] == b"ID3" or kind_of(rest[:4]):
        raise source.error(Reason.DECODE_ERROR, f"a second recording starts at byte {at}")
    i = 0
    while (i := rest.find(b"\xff", i)) >= 0:
        length = _length(rest[i : i + 4], kind)
        behind = i + length
        if length and (at + behind == source.size or _length(rest[behind : behind + 4], kind)):
            raise damaged(source, at, "frames go on behind damage")
        i += 1
    if not whole and not any(rest):
        raise source.error(Reason.TRUNCATED, f"nothing but zeros from byte {at} on")


def _length(header: bytes, kind: FrameKind) -> int:
    return kind.lengths[header[2]] if kind_of(header) is kind else 0
