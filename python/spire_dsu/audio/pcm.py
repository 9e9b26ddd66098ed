"""WAV, RF64, W64, AIFF, AU and NIST SPHERE: how many bytes of samples the header declares.

Decoders read what is there and say nothing when it is less than declared, so a recording cut in
half sounds like a shorter one. Here the declared size is held against the file's. A writer that
could not seek back leaves a filler instead of the size; such a stream is legal and is read to its
end, and a cut in it cannot be found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Literal

from spire_dsu.audio.layout import Layout
from spire_dsu.audio.source import Source
from spire_dsu.errors import AudioError, Reason

# Left as the size by writers to a pipe: ffmpeg all ones, sox 0x7FFFF000, arecord 0x7FFFFFFF or
# 0x80000000; some subtract their header.
_FILLERS = ((0, 0), (0x7FFFEF00, 0x80000000), (0xFFFFFF00, 0xFFFFFFFF))
_MOST_CHUNKS = 10_000
_PLAIN_CODINGS = {
    1,
    3,
    6,
    7,
    0xFFFE,
}  # PCM, float, A-law, mu-law, extensible: bytes tell the length

Order = Literal["little", "big"]
Chunk = tuple[bytes, int, int]


def examine_wav(source: Source) -> Layout:
    """RIFF, RIFX and RF64.

    Raises:
        AudioError: TRUNCATED, EMPTY, or DECODE_ERROR for a second recording behind the first and
            for no samples.
    """
    head = _header(source, 12)
    if head[8:12] != b"WAVE":
        raise source.error(Reason.DECODE_ERROR, f"RIFF of {head[8:12]!r}, not of WAVE")
    order: Order = "big" if head[:4] == b"RIFX" else "little"
    whole = 8 + int.from_bytes(head[4:8], order)
    long_size, fmt = None, b""
    for tag, at, size in _riff_chunks(source, 12, order):
        if tag == b"ds64":
            long_size = int.from_bytes(source.read_at(at + 8, 8), order)
        elif tag == b"fmt ":
            fmt = source.read_at(at, min(size, 64))
            _check_bits(source, fmt, order)
        elif tag == b"data":
            if size == 0xFFFFFFFF and long_size is not None:
                size = long_size
            for end in (at + size + size % 2, whole):
                if source.read_at(end, 4) in (b"RIFF", b"RIFX", b"RF64"):
                    raise _second(source, end)
            if size == 0 and whole == source.size:
                raise source.error(Reason.EMPTY, "0 bytes of samples")
            frames = _frames(source, at, size, _frame_bytes(fmt, order))
            glued = source.find(at, b"WAVEfmt ") if size == 0 or at + size > source.size else None
            if glued is not None:
                raise _second(source, glued - 8)
            # A size of 0, left by a writer to a pipe, is an empty recording to the decoder.
            rewritten = functools.partial(_with_size, source, at, fmt, order) if size == 0 else None
            return Layout("wav", frames, exact_seek=True, rewritten=rewritten)
    raise _no_samples(source, whole)


def examine_w64(source: Source) -> Layout:
    """Sony's Wave64: names of 16 bytes, sizes of 8 that count their own header of 24."""
    head = _header(source, 40)
    whole, at, frame_bytes = int.from_bytes(head[16:24], "little"), 40, 0
    for _ in range(_MOST_CHUNKS):
        name = source.read_at(at, 24)
        if len(name) < 24:
            break
        size = int.from_bytes(name[16:], "little") - 24
        if name[:4] == b"fmt ":
            frame_bytes = _frame_bytes(source.read_at(at + 24, 16), "little")
        elif name[:4] == b"data":
            return Layout("w64", _frames(source, at + 24, max(size, 0), frame_bytes), True)
        at += 24 + max(size, 0) + -size % 8
    raise _no_samples(source, whole)


def examine_aiff(source: Source) -> Layout:
    """AIFF and AIFF-C."""
    head = _header(source, 12)
    if head[8:12] not in (b"AIFF", b"AIFC"):
        raise source.error(Reason.DECODE_ERROR, f"FORM of {head[8:12]!r}, not of AIFF")
    for tag, at, size in _riff_chunks(source, 12, "big"):
        if tag == b"SSND":
            _frames(source, at, size, 0)
            return Layout("aiff", exact_seek=True)
    raise _no_samples(source, 8 + int.from_bytes(head[4:8], "big"))


def examine_au(source: Source) -> Layout:
    """Sun's and NeXT's .au."""
    head = _header(source, 24)
    start, size = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    _frames(source, start, size, 0)
    return Layout("au", exact_seek=True)


def examine_nist(source: Source) -> Layout:
    """NIST SPHERE, the form of older speech corpora: a header of text lines, "name -type value"."""
    header = source.read_at(0, 1024)
    fields: dict[str, str] = {}
    for line in header.decode("latin-1").split("\n")[2:]:
        parts = line.split()
        if parts[:1] == ["end_head"]:
            break
        if len(parts) == 3:
            fields[parts[0]] = parts[2]
    try:
        count, channels, width = (
            int(fields[name]) for name in ("sample_count", "channel_count", "sample_n_bytes")
        )
        start = int(header[8:16])
    except (KeyError, ValueError) as error:
        if source.size < 1024:
            raise source.error(
                Reason.TRUNCATED, f"{source.size} bytes, inside its header"
            ) from error
        raise source.error(Reason.DECODE_ERROR, f"SPHERE header lacks {error}") from error
    return Layout("nist", _frames(source, start, count * channels * width, channels * width), True)


def _header(source: Source, count: int) -> bytes:
    head = source.read_at(0, count)
    if len(head) < count:
        raise source.error(Reason.TRUNCATED, f"{len(head)} bytes, inside its header of {count}")
    return head


def _riff_chunks(source: Source, at: int, order: Order) -> Iterator[Chunk]:
    """(name, offset of the body, size of the body), each padded to an even length."""
    for _ in range(_MOST_CHUNKS):
        head = source.read_at(at, 8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], order)
        yield head[:4], at + 8, size
        at += 8 + size + size % 2


def _frame_bytes(fmt: bytes, order: Order) -> int:
    """Bytes of one sample of all channels; 0 where the coding does not let bytes tell."""
    coding, channels = int.from_bytes(fmt[:2], order), int.from_bytes(fmt[2:4], order)
    align, bits = int.from_bytes(fmt[12:14], order), int.from_bytes(fmt[14:16], order)
    return align if coding in _PLAIN_CODINGS and align == channels * ((bits + 7) // 8) else 0


def _frames(source: Source, at: int, size: int, frame_bytes: int) -> int | None:
    """Samples per channel that the header declares, None for a stream of undeclared length.

    Raises:
        AudioError: TRUNCATED, the file ends before the samples do.
    """
    there = max(0, source.size - at)
    if size > there or size == 0:
        if any(low <= size <= high for low, high in _FILLERS) or size >= 1 << 63:
            return None
        raise source.error(
            Reason.TRUNCATED, f"declares {size} bytes of samples and holds {there} of them"
        )
    return size // frame_bytes if frame_bytes else None


def _check_bits(source: Source, fmt: bytes, order: Order) -> None:
    coding, bits = (int.from_bytes(fmt[at : at + 2], order) for at in (0, 14))
    if coding in _PLAIN_CODINGS and not 8 <= bits <= 64:
        raise source.error(Reason.DECODE_ERROR, f"{bits} bits a sample")


def _with_size(source: Source, at: int, fmt: bytes, order: Order) -> Iterator[bytes]:
    """A WAV file of the samples from byte `at` to the end."""
    size = min(source.size - at, 0xFFFFFFFF)
    yield b"RIFX" if order == "big" else b"RIFF"
    yield b"\xff\xff\xff\xffWAVEfmt " + len(fmt).to_bytes(4, order) + fmt
    yield b"data" + size.to_bytes(4, order)
    yield from source.copy(at)


def _second(source: Source, at: int) -> AudioError:
    return source.error(Reason.DECODE_ERROR, f"a second recording starts at byte {at}")


def _no_samples(source: Source, whole: int) -> AudioError:
    if whole > source.size:
        return source.error(
            Reason.TRUNCATED, f"declares {whole} bytes, holds {source.size}, none of them samples"
        )
    return source.error(Reason.DECODE_ERROR, "holds no samples: no data chunk")
