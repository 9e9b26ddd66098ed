"""What a recording is, by its first bytes, and what its container declares.

The extension never counts: HTML in a .wav, an archive or a playlist is refused before any decoder
sees it. Each container has its own file, whose `examine` finds the damage that the decoder would
pass over in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spire_dsu.audio.source import Source
from spire_dsu.errors import AudioError, Reason

_MAGIC = (
    ("wav", b"RIFF"),
    ("wav", b"RIFX"),
    ("wav", b"RF64"),
    ("w64", b"riff\x2e\x91\xcf\x11"),
    ("aiff", b"FORM"),
    ("au", b".snd"),
    ("nist", b"NIST_1A"),
    ("flac", b"fLaC"),
    ("ogg", b"OggS"),
    ("matroska", b"\x1a\x45\xdf\xa3"),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the container says of its audio, before anything is decoded.

    Attributes:
        container: "wav", "w64", "aiff", "au", "nist", "flac", "ogg", "mp3", "mp4" or "matroska".
        frames: samples per channel that are declared; None where nothing is. Never a size to
            allocate.
        exact_seek: decoding may start in the middle and gives the same samples as decoding from the
            start.
        decoder_counts: the decoder's own length, taken from the container, is what is declared.
        limit: samples per channel that the frames hold, where they were counted; None otherwise.
        rewritten: makes the bytes that the decoder gets instead of the file's, where it would
            misread those: junk behind the recording, a size that a stream could not fill in.
    """

    container: str
    frames: int | None = None
    exact_seek: bool = False
    decoder_counts: bool = False
    limit: int | None = None
    rewritten: Callable[[], Iterable[bytes]] | None = None


def sniff(source: Source) -> tuple[str, int]:
    """The container's name and the byte where it starts, behind ID3 tags.

    Raises:
        AudioError: EMPTY for a file of 0 bytes, DECODE_ERROR for bytes that are no audio known
            here.
    """
    if source.size == 0:
        raise source.error(Reason.EMPTY, "0 bytes")
    start = _skip_id3(source)
    head = source.read_at(start, 16)
    if len(head) < 8 and any(magic.startswith(head) for _, magic in _MAGIC):
        raise source.error(Reason.TRUNCATED, f"{source.size} bytes, inside its first mark")
    container = _container_of(head)
    if container is None:
        raise source.error(Reason.DECODE_ERROR, f"no audio format known here starts with {head!r}")
    if start and container not in ("flac", "mp3"):
        raise source.error(Reason.DECODE_ERROR, f"an ID3 tag in front of {container}")
    return container, start


def _container_of(head: bytes) -> str | None:
    for container, magic in _MAGIC:
        if head.startswith(magic):
            return container
    if head[4:8] == b"ftyp":
        return "mp4"
    # Eleven bits of synchronisation; layer 0 would be AAC in ADTS, not MPEG audio.
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return "mp3"
    return None


def _skip_id3(source: Source) -> int:
    """The byte after leading ID3v2 tags (MP3 and, against its specification, FLAC carry them)."""
    start = 0
    for _ in range(8):
        head = source.read_at(start, 10)
        if head[:3] != b"ID3":
            break
        if len(head) < 10:
            raise source.error(Reason.TRUNCATED, f"{source.size} bytes, inside its ID3 tag")
        if max(head[6:10]) > 0x7F:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 0x10 else 0)
    if start >= source.size > 0:
        raise source.error(Reason.TRUNCATED, f"ends inside its ID3 tag of {start} bytes")
    return start


def cut_or_damaged(source: Source) -> Reason:
    """Tells a file that was never written to its end, whose tail is zeros, from one that was
    damaged.
    """
    tail = source.read_at(max(0, source.size - 256), 256)
    return Reason.DECODE_ERROR if any(tail) else Reason.TRUNCATED


def damaged(source: Source, where: int, text: str) -> AudioError:
    """The error for bytes that break the container's own rules at one place."""
    return source.error(cut_or_damaged(source), f"{text} at byte {where}")
