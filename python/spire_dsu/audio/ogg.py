"""Ogg (Vorbis and Opus): every page's checksum and number, and the flag that ends the stream.

The decoders drop a damaged page and join what is around the hole, and take the last page that is
there for the end. So the pages are walked first: they are few, and zlib computes their checksums.
"""

from __future__ import annotations

import functools
import zlib

from spire_dsu.audio.layout import Layout, damaged
from spire_dsu.audio.source import Source
from spire_dsu.errors import AudioError, Reason

_HEADER = 27
_LARGEST_PAGE = _HEADER + 255 + 255 * 255
_WINDOW = 1 << 20
_FIRST, _LAST = 2, 4
# Ogg's CRC-32 shifts left where zlib's shifts right: the same polynomial with the bits of each byte
# mirrored.
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(page: bytes) -> int:
    """The CRC-32 of a page whose own checksum field is zero, as Ogg counts it."""
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRROR), "big")


def examine_ogg(source: Source) -> Layout:
    """Walks all pages.

    Raises:
        AudioError: TRUNCATED, no page ends the stream, or the last is not whole. DECODE_ERROR, a
            page is damaged or absent, or there is a second stream (decoders play only the first).
    """
    at, count, ended, first, position = 0, 0, False, b"", 0
    window_at, window = 0, b""
    while at < source.size:
        held = window_at + len(window)
        if at + _LARGEST_PAGE > held and held < source.size:
            window_at, window = at, source.read_at(at, _WINDOW)
        page = _page(window, at - window_at)
        if page is None:
            break
        if ended:
            raise source.error(Reason.DECODE_ERROR, f"a second recording starts at byte {at}")
        first = first or page[:_HEADER]
        _check_page(source, at, page, first, count)
        position = _advance(source, at, page, position)
        ended = bool(page[5] & _LAST)
        at += len(page)
        count += 1
    if ended and source.find(at, b"OggS") is None:
        # The decoder looks for the last page at the end of the file.
        rewritten = None if at == source.size else functools.partial(source.copy, 0, at)
        return Layout("ogg", decoder_counts=True, rewritten=rewritten)
    raise _bad_end(source, at, ended)


def _page(window: bytes, begin: int) -> bytes | None:
    """The page that starts at `begin`; None where none does, or where it is not whole."""
    header = window[begin : begin + _HEADER]
    if len(header) < _HEADER or header[:4] != b"OggS":
        return None
    sizes = window[begin + _HEADER : begin + _HEADER + header[26]]
    end = begin + _HEADER + header[26] + sum(sizes)
    return window[begin:end] if len(sizes) == header[26] and end <= len(window) else None


def _check_page(source: Source, at: int, page: bytes, first: bytes, count: int) -> None:
    """Raises AudioError unless this is the whole page that has to come here."""
    if page[4] != 0 or bool(page[5] & _FIRST) != (count == 0):
        starts = "is not the start of a stream" if count == 0 else "starts a second stream"
        raise damaged(source, at, f"the page {starts}")
    if checksum(page[:22] + bytes(4) + page[26:]) != int.from_bytes(page[22:26], "little"):
        raise damaged(source, at, "wrong checksum of the page")
    if page[14:18] != first[14:18]:
        raise damaged(source, at, "the page belongs to a second stream")
    number, expected = (int.from_bytes(p[18:22], "little") for p in (page, first))
    if number != expected + count:
        raise damaged(source, at, f"page {number} instead of {expected + count}")


def _advance(source: Source, at: int, page: bytes, position: int) -> int:
    """Samples up to the end of the page; a last page that goes back would hide what came before."""
    granule = int.from_bytes(page[6:14], "little", signed=True)
    if granule == -1:  # no packet ends on this page
        return position
    if granule < position:
        raise damaged(source, at, f"samples go back from {position} to {granule}")
    return granule


def _bad_end(source: Source, at: int, ended: bool) -> AudioError:
    if ended:
        return source.error(Reason.DECODE_ERROR, f"a second recording starts behind byte {at}")
    if source.find(at + 4, b"OggS") is not None:
        return source.error(Reason.DECODE_ERROR, f"no whole page at byte {at}, but further on")
    return source.error(
        Reason.TRUNCATED, f"no page ends the stream, whose last one ends at byte {at}"
    )
