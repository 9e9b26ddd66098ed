"""Decoders behind one face: blocks of float32 [n, channels], in order, until there are none."""

from __future__ import annotations

import os
import threading
from typing import Protocol

import numpy as np
import soundfile

from spire_dsu.audio import mpeg
from spire_dsu.audio.layout import Layout
from spire_dsu.audio.source import Source, spool
from spire_dsu.errors import AudioError, Reason
from spire_dsu.types import Float32

BLOCK_VALUES = 1 << 16
"""Samples of all channels together that are decoded at a time."""


# Fresh pages for every short file would cost as much as a tenth of its decoding.
_SCRATCH = threading.local()


class Reader(Protocol):
    """An open decoder.

    Attributes:
        rate: samples per second of the recording.
        channels: of each block.
        codec: how the samples are coded, for people.
        frames: samples per channel that the decoder expects; None where it does not know. Never a
            size to allocate.
    """

    rate: int
    channels: int
    codec: str
    frames: int | None

    def read(self, count: int) -> Float32:
        """The next samples as float32 [n, channels], at most `count` and a block of them; n is 0 at
        the end.

        Valid until the next call.
        """

    def seek(self, frame: int) -> None:
        """Goes to a sample; only where the layout says that this is exact."""

    def close(self) -> None:
        """Gives the decoder back; the source stays open."""


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Reads straight on, to where the data ends.

    The base class seeks after each block of a seekable file, which makes the decoders of MP3,
    Vorbis and Opus start over (slower, and with other samples), and reads no further than what the
    header declares.
    """

    def seekable(self) -> bool:
        return False


class SoundReader:
    """libsndfile: WAV, RF64, W64, AIFF, AU, NIST, FLAC, Vorbis, Opus and MP3."""

    def __init__(self, source: Source, *, owner: bool = False) -> None:
        """Opens `source`; an owner closes it at the end."""
        self._source = source
        self._owner = owner
        os.lseek(source.fd, 0, os.SEEK_SET)
        try:
            # A descriptor instead of a path: the extension cannot decide how the bytes are read.
            self._file = _Sequential(source.fd, closefd=False)
        except soundfile.SoundFileError as error:
            raise self._refusal(error) from error
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.codec: str = self._file.subtype
        # The largest count stands for "unknown" in libsndfile.
        self.frames: int | None = self._file.frames if self._file.frames < 1 << 62 else None
        self._block = _scratch(self.channels)

    def read(self, count: int) -> Float32:
        try:
            block: Float32 = self._file.read(out=self._block[:count])
        except soundfile.SoundFileError as error:
            raise self._refusal(error) from error
        return block

    def seek(self, frame: int) -> None:
        try:
            self._file.seek(frame)
        except soundfile.SoundFileError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        self._file.close()
        if self._owner:
            os.close(self._source.fd)

    def _refusal(self, error: soundfile.SoundFileError) -> AudioError:
        text = str(getattr(error, "error_string", error)).strip().rstrip(".")
        return self._source.error(Reason.DECODE_ERROR, f"the decoder refuses it: {text}")


def _scratch(channels: int) -> Float32:
    """float32 [n, channels] to decode into, the same memory for each recording of a thread."""
    values: Float32 | None = getattr(_SCRATCH, "values", None)
    if values is None or values.size != max(BLOCK_VALUES, channels):
        values = _SCRATCH.values = np.empty(max(BLOCK_VALUES, channels), np.float32)
    count = values.size // channels
    return values[: count * channels].reshape(count, channels)


def open_reader(source: Source, layout: Layout, start: int) -> Reader:
    """The decoder for a container whose first byte is `start`.

    Raises:
        AudioError: DECODE_ERROR, the decoder refuses the bytes, or PyAV is needed and not
            installed.
    """
    if layout.container in ("mp4", "matroska"):
        try:
            from spire_dsu.audio.av_reader import AvReader
        except ImportError as error:
            raise source.error(
                Reason.DECODE_ERROR,
                f"{layout.container} needs PyAV: pip install 'spire-dsu[av]' ({error})",
            ) from error
        return AvReader(source, layout)
    if layout.rewritten is not None:
        reader = _open_owned(spool(layout.rewritten(), source.name))
    else:
        reader = SoundReader(source)
    if layout.limit is not None and reader.frames is not None and reader.frames < layout.limit:
        # The decoder would stop at its own guess of the length.
        reader.close()
        reader = _open_owned(spool(mpeg.with_declared_length(source, start), source.name))
    return reader


def _open_owned(source: Source) -> SoundReader:
    try:
        return SoundReader(source, owner=True)
    except BaseException:
        os.close(source.fd)
        raise
