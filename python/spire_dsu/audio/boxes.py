"""MP4/M4A and Matroska/WebM: whether the outermost pieces lie inside the file.

Both nest sized pieces; a file that was cut has one that ends behind the file's end. A live
recording declares no size and cannot be judged here.
"""

from __future__ import annotations

from spire_dsu.audio.layout import Layout
from spire_dsu.audio.source import Source
from spire_dsu.errors import Reason

_MOST_BOXES = 100_000
_BOXES = {
    b"moov",
    b"mdat",
    b"moof",
    b"mfra",
    b"sidx",
    b"styp",
    b"free",
    b"skip",
    b"uuid",
    b"meta",
    b"udta",
}
_SEGMENT = b"\x18\x53\x80\x67"


def examine_mp4(source: Source) -> Layout:
    """Walks the outermost boxes: size of 4 bytes, name of 4; size 1 means 8 more bytes hold it, 0
    the rest.
    """
    at, seen = 0, set[bytes]()
    for _ in range(_MOST_BOXES):
        head = source.read_at(at, 16)
        name = head[4:8]
        if not head or (seen >= {b"moov", b"mdat"} and name not in _BOXES | {b"ftyp"}):
            return Layout("mp4")  # the end, or junk behind a whole recording
        if name == b"ftyp" and at:
            raise source.error(Reason.DECODE_ERROR, f"a second recording starts at byte {at}")
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        elif size == 0 and len(head) >= 8:
            return Layout("mp4")
        if size < 8 or at + size > source.size:
            raise source.error(
                Reason.TRUNCATED, f"the box at byte {at} ends at {at + size} of {source.size} bytes"
            )
        seen.add(name)
        at += size
    raise source.error(Reason.DECODE_ERROR, f"over {_MOST_BOXES} boxes")


def examine_matroska(source: Source) -> Layout:
    """Reads past the EBML header and holds the segment's size against the file's."""
    size, width = _sized(source.read_at(4, 8))
    at = 4 + width + (size or 0)
    if source.read_at(at, 4) != _SEGMENT:
        if at >= source.size:
            raise source.error(Reason.TRUNCATED, f"{source.size} bytes, inside its header")
        raise source.error(Reason.DECODE_ERROR, f"no Matroska segment at byte {at}")
    size, width = _sized(source.read_at(at + 4, 8))
    at += 4 + width
    if size is not None and at + size > source.size:
        raise source.error(Reason.TRUNCATED, f"declares {at + size} bytes and holds {source.size}")
    return Layout("matroska")


def _sized(data: bytes) -> tuple[int | None, int]:
    """An EBML number and its width in bytes: as many leading zero bits as bytes follow; all ones is
    unknown.
    """
    if not data or not data[0]:
        return None, 8
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big") & (1 << 7 * width) - 1
    return (None if value == (1 << 7 * width) - 1 else value), width
