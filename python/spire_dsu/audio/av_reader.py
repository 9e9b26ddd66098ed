"""M4A and WebM through PyAV (FFmpeg), which is an extra: `pip install 'spire-dsu[av]'`.

The container is named, not guessed, and read from an open descriptor: no playlist, no other file,
no network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np

from spire_dsu.audio.layout import Layout
from spire_dsu.audio.source import Source
from spire_dsu.errors import AudioError, Reason
from spire_dsu.types import Float32

_STRICT = {"err_detect": "crccheck+explode"}
_SLACK_SECONDS = 0.1  # WebM rounds its duration, and counts what the decoder skips at the start
_FULL_SCALE = {"u1": 128.0, "i2": 2.0**15, "i4": 2.0**31}


class AvReader:
    """The first audio stream of an MP4 or Matroska file; see `readers.Reader`."""

    def __init__(self, source: Source, layout: Layout) -> None:
        self._source = source
        os.lseek(source.fd, 0, os.SEEK_SET)
        self._file = os.fdopen(os.dup(source.fd), "rb")
        self._container: Any = None
        try:
            self._decoded = self._blocks(layout.container)
            self._count = 0
            first = next(self._decoded, None)
            if first is None:
                raise source.error(Reason.EMPTY, "no sample in its audio stream")
        except BaseException:
            self.close()
            raise
        self.channels = first.shape[1]
        self._held: Float32 = first

    def read(self, count: int) -> Float32:
        if not len(self._held):
            self._held = next(self._decoded, self._held)
        block, self._held = self._held[:count], self._held[count:]
        return block

    def seek(self, frame: int) -> None:
        raise AssertionError(f"sample {frame}: no layout of these containers allows seeking")

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()

    def _blocks(self, name: str) -> Iterator[Float32]:
        """All decoded blocks, cut to the declared length. Sets the facts of the reader with the
        first one.

        Raises:
            AudioError: DECODE_ERROR, or TRUNCATED where less came out than is declared.
        """
        try:
            self._container = av.open(
                self._file, mode="r", format=name, options=_STRICT, metadata_errors="replace"
            )
            stream: Any = next(iter(self._container.streams.audio), None)
            if stream is None or stream.codec_context is None:
                raise self._source.error(
                    Reason.DECODE_ERROR, "holds no audio stream of a known codec"
                )
            stream.codec_context.options = _STRICT
            stream.codec_context.thread_count = 1
            self.codec: str = stream.codec_context.name
            self.frames: int | None = None
            done, seconds = 0, 0.0
            for frame in self._container.decode(stream):
                block = _samples(frame)
                if not done:
                    # What the stream declares can be the rate of its core; the first frame has the
                    # true one.
                    self.rate: int = frame.sample_rate
                    self.frames, seconds = self._declared(stream)
                elif (frame.sample_rate, block.shape[1]) != (self.rate, self.channels):
                    raise self._source.error(
                        Reason.DECODE_ERROR, f"changes to {frame!r} on its way"
                    )
                if self.frames is not None:
                    block = block[: self.frames - done]
                done += len(block)
                yield block
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, AudioError):
                raise
            raise self._source.error(
                Reason.DECODE_ERROR, f"the decoder refuses it: {error}"
            ) from error
        if done < (seconds - _SLACK_SECONDS) * (self.rate if done else 0):
            raise self._source.error(
                Reason.TRUNCATED, f"declares {seconds:.2f} s and holds {done / self.rate:.2f} s"
            )

    def _declared(self, stream: Any) -> tuple[int | None, float]:
        """Samples where the container counts them exactly, and seconds, 0 where it declares
        nothing.
        """
        if stream.duration:
            seconds = stream.duration * stream.time_base
            return round(seconds * self.rate), float(seconds)
        return None, (self._container.duration or 0) / 1e6


def _samples(frame: av.AudioFrame) -> Float32:
    """A decoded frame as float32 [n, channels], integers scaled to [-1, 1)."""
    planes = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = planes.T if frame.format.is_planar else planes.reshape(-1, channels)
    kind = samples.dtype.str[1:]
    if kind in _FULL_SCALE:
        samples = samples.astype(np.float64) / _FULL_SCALE[kind] - (kind == "u1")
    return np.ascontiguousarray(samples, dtype=np.float32)
