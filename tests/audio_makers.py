"""Recordings made in code, sound and hostile: signals, containers written byte by byte, and damage.

The checksums here are computed bit by bit, so that they do not share a mistake with the code under
test.
"""

from __future__ import annotations

import functools
import io
import struct

import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.float32]

SUBTYPES = {"OPUS": ("OGG", "OPUS"), "VORBIS": ("OGG", "VORBIS"), "MP3": ("MP3", None)}


def voice(seconds: float, rate: int = 16_000, channels: int = 1) -> Samples:
    """float32 [S] or [S, channels]: harmonics under 3 kHz with a syllable's envelope, each channel
    quieter.
    """
    times = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * 140 * k * times + k) / k for k in range(1, 20))
    sound = 0.15 * sound * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * times))
    planes = [sound * 0.8**c for c in range(channels)]
    return np.stack(planes, axis=1).astype(np.float32).squeeze(axis=1 if channels == 1 else ())


def encode(
    samples: npt.NDArray[np.generic],
    kind: str = "WAV",
    rate: int = 16_000,
    subtype: str | None = None,
) -> bytes:
    """The bytes of a file; `kind` is a container of libsndfile, or "OPUS" or "VORBIS"."""
    container, default = SUBTYPES.get(kind, (kind, None))
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=container, subtype=subtype or default)
    return stream.getvalue()


def chunk(name: bytes, body: bytes, *, size: int | None = None, pad: bool = True) -> bytes:
    """A RIFF chunk, whose declared size may be a lie."""
    declared = len(body) if size is None else size
    return name + struct.pack("<I", declared) + body + (b"\0" if pad and len(body) % 2 else b"")


def wav(
    data: bytes,
    *,
    rate: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    coding: int = 1,
    align: int | None = None,
    data_size: int | None = None,
    riff_size: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A WAV file with any header.

    Args:
        data: the bytes of the samples.
        rate, channels, bits, coding, align: fields of the fmt chunk.
        data_size, riff_size: declared instead of the true sizes.
        before, after: whole chunks on both sides of the data chunk.
    """
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack(
        "<HHIIHH",
        coding,
        channels & 0xFFFF,
        rate,
        rate * align & 0xFFFFFFFF,
        align & 0xFFFF,
        bits,
    )
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + chunk(b"data", data, size=data_size) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def pcm16(samples: Samples) -> bytes:
    """Little-endian 16-bit samples."""
    return np.round(samples * 32767).astype("<i2").tobytes()


def crc(data: bytes, polynomial: int, bits: int) -> int:
    """A checksum that shifts left from 0."""
    value, mask = 0, (1 << bits) - 1
    for byte in data:
        value = value << 8 & mask ^ _crc_of_byte(value >> bits - 8 ^ byte, polynomial, bits)
    return value


@functools.cache
def _crc_of_byte(byte: int, polynomial: int, bits: int) -> int:
    """Long division, bit by bit."""
    value = byte << bits - 8
    for _ in range(8):
        value = value << 1 ^ (polynomial | 1 << bits if value >> bits - 1 else 0)
    return value


def flac_header(total: int, *, block: int = 4096, rate: int = 16_000) -> bytes:
    """fLaC and STREAMINFO of a mono 16-bit stream that declares `total` samples and has no MD5."""
    packed = rate << 44 | 0 << 41 | 15 << 36 | total
    info = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + b"\x80\x00\x00\x22" + info


def flac_frame(number: int, size: int, value: int = 0) -> bytes:
    """Frame `number`: `size` samples, at most 65,536, all of one value. 10 to 16 bytes whatever the
    size.
    """
    coded = bytes([number]) if number < 128 else chr(number).encode("utf-8", "surrogatepass")
    head = b"\xff\xf8\x70\x08" + coded + struct.pack(">H", size - 1)
    frame = head + bytes([crc(head, 0x07, 8)]) + b"\0" + struct.pack(">h", value)
    return frame + struct.pack(">H", crc(frame, 0x8005, 16))


def flac_of_constants(sizes: list[int], *, total: int | None = None, block: int = 4096) -> bytes:
    """A mono 16 kHz FLAC of constant frames; declares the true length unless told another one."""
    frames = b"".join(flac_frame(k, size, 100 * (k % 3)) for k, size in enumerate(sizes))
    return flac_header(sum(sizes) if total is None else total, block=block) + frames


def with_flac_total(data: bytes, total: int) -> bytes:
    """A FLAC file whose header declares another length."""
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    return data[:18] + packed.to_bytes(8, "big") + data[26:]


def ogg_pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    pages, at = [], 0
    while at < len(data):
        count = data[at + 26]
        end = at + 27 + count + sum(data[at + 27 : at + 27 + count])
        pages.append(data[at:end])
        at = end
    return pages


def sealed(page: bytes) -> bytes:
    """An Ogg page with the checksum that its bytes need."""
    page = page[:22] + bytes(4) + page[26:]
    return page[:22] + crc(page, 0x04C11DB7, 32).to_bytes(4, "little") + page[26:]


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    """The same bytes but for one bit."""
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def zero_tail(data: bytes, share: float = 0.5) -> bytes:
    """A file that was allocated and not written to its end."""
    keep = int(len(data) * share)
    return data[:keep] + bytes(len(data) - keep)
