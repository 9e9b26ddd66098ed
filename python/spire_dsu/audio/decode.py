"""A recording in, mono samples at 16 kHz out, or the reason why not."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from spire_dsu.audio import boxes, flac, mpeg, ogg, pcm
from spire_dsu.audio.layout import Layout, sniff
from spire_dsu.audio.mixing import (
    Channel,
    Mixer,
    Resampler,
    Sink,
    first_unusable,
    resampled_length,
)
from spire_dsu.audio.readers import BLOCK_VALUES, Reader, open_reader
from spire_dsu.audio.source import AudioSource, Source, open_source
from spire_dsu.errors import AudioError, InputError, Reason
from spire_dsu.types import SAMPLING_RATE, Float32

T = TypeVar("T")

MAX_SECONDS = 6 * 3600.0
"""Longest recording or segment that is decoded unless asked otherwise: 1.4 GB of samples."""

LOWEST_RATE, HIGHEST_RATE = 2_000, 768_000
"""Sampling rates that sound has; a header with another one is damaged or hostile."""

_MOST_VALUES_PER_SECOND = 384_000
_LATEST = 1e9  # seconds, 31 years: the numbers below stay far from any overflow
_DECODER_DELAY = 1152  # samples of MP3 that a decoder may drop at the start
_SEGMENT_SLACK = 0.02  # seconds: manifests round to hundredths


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """One decoded recording, or a segment of it.

    Attributes:
        samples: float32 [S], mono, contiguous, finite; nominally within [-1, 1].
        sampling_rate: of `samples`, per second.
        source_rate: of the recording, per second.
        source_frames: samples per channel that were decoded, at the recording's rate.
        channels: of the recording.
        container: "wav", "flac", "ogg", "mp3" ...
        codec: how the samples were coded, for people: "PCM_16", "OPUS" ...
        cancelled: the mean of the channels was silence because they have opposite signs; `samples`
            is the first one.
    """

    samples: Float32
    sampling_rate: int
    source_rate: int
    source_frames: int
    channels: int
    container: str
    codec: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take of a recording, checked."""

    sampling_rate: int
    offset: float
    duration: float | None
    max_seconds: float
    channel: Channel


def read_audio(
    source: AudioSource,
    *,
    sampling_rate: int = SAMPLING_RATE,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = MAX_SECONDS,
    channel: Channel = "mean",
) -> Float32:
    """Decodes a recording to mono samples; `decode_audio` also tells the facts about it.

    Args and errors are those of `decode_audio`.

    Returns:
        float32 [S] at `sampling_rate`.
    """
    return decode_audio(
        source,
        sampling_rate=sampling_rate,
        offset=offset,
        duration=duration,
        max_seconds=max_seconds,
        channel=channel,
    ).samples


def decode_audio(
    source: AudioSource,
    *,
    sampling_rate: int = SAMPLING_RATE,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = MAX_SECONDS,
    channel: Channel = "mean",
) -> Waveform:
    """Decodes a recording in blocks, mixes it to mono and resamples it.

    The same bytes give the same samples, bit for bit. A segment is cut at the recording's own rate
    and resampled by itself; of the rest of the recording only what its container tells is checked.

    Args:
        source: a path, the content as bytes, or an object whose `read` gives bytes.
        sampling_rate: of the result, per second.
        offset: seconds to leave out at the start.
        duration: seconds to take; None for all. May pass the end by 20 ms, as rounded manifests do.
        max_seconds: a longer recording or segment is refused.
        channel: "mean" of all, or the number of one, from 0. Where the mean is silence only because
            the channels have opposite signs, the first is taken and `Waveform.cancelled` is set.

    Returns:
        The samples with the facts about the recording.

    Raises:
        AudioError: with its `Reason`; see the package's description for what is found and what
            cannot be.
        InputError: an argument out of its range.
    """
    wanted = check_wanted(sampling_rate, offset, duration, max_seconds, channel)
    with open_source(source) as file:
        try:
            return _decode(file, wanted)
        except OSError as error:  # the disk, while reading
            raise file.error(Reason.MISSING, f"cannot be read: {error.strerror}") from error
        except MemoryError as error:
            raise file.error(Reason.TOO_LONG, "not enough memory for its samples") from error


def check_wanted(
    sampling_rate: int, offset: float, duration: float | None, max_seconds: float, channel: Channel
) -> Wanted:
    """The arguments of `decode_audio`, checked, as plain numbers; errors as it raises them."""
    rate = check_rate(sampling_rate)
    longest = _number(max_seconds)
    if not longest > 0:
        raise InputError(f"max_seconds must be above 0, got {max_seconds!r}")
    if channel != "mean":
        if isinstance(channel, str) or not hasattr(channel, "__index__") or channel < 0:
            raise InputError(f"channel must be 'mean' or a number from 0, got {channel!r}")
        channel = int(channel)
    start = _number(offset)
    if not 0 <= start <= _LATEST:
        raise AudioError(Reason.BAD_SEGMENT, f"offset must be 0 to 1e9 s, got {offset!r}")
    length = None if duration is None else _number(duration)
    if length is not None and not 0 < length <= _LATEST:
        raise AudioError(
            Reason.BAD_SEGMENT, f"duration must be above 0 and at most 1e9 s, got {duration!r}"
        )
    return Wanted(rate, start, length, longest, channel)


def _number(value: Any) -> float:
    """A float, NaN for what is none: no comparison holds then."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def check_rate(sampling_rate: object) -> int:
    """A sampling rate as an int.

    Raises:
        InputError: no whole number, or none that sound has.
    """
    if isinstance(sampling_rate, bool) or not hasattr(sampling_rate, "__index__"):
        raise InputError(f"sampling_rate must be a whole number, got {sampling_rate!r}")
    rate = int(sampling_rate.__index__())
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"sampling_rate must be {LOWEST_RATE} to {HIGHEST_RATE}, got {rate}")
    return rate


def _decode(source: Source, wanted: Wanted) -> Waveform:
    container, start = sniff(source)
    layout = _examine(source, container, start)
    waveform = _Pass(source, layout, start, wanted).run()
    if waveform.cancelled:
        first = _Pass(source, layout, start, replace(wanted, channel=0)).run()
        waveform = replace(first, cancelled=True)
    source.check_unchanged()
    return waveform


def _examine(source: Source, container: str, start: int) -> Layout:
    if container == "flac":
        return flac.examine_flac(source, start)
    if container == "mp3":
        return mpeg.examine_mpeg(source, start)
    examine: dict[str, Callable[[Source], Layout]] = {
        "wav": pcm.examine_wav,
        "w64": pcm.examine_w64,
        "aiff": pcm.examine_aiff,
        "au": pcm.examine_au,
        "nist": pcm.examine_nist,
        "ogg": ogg.examine_ogg,
        "mp4": boxes.examine_mp4,
        "matroska": boxes.examine_matroska,
    }
    return examine[container](source)


class _Pass:
    """One run through a recording with one decoder."""

    def __init__(self, source: Source, layout: Layout, start: int, wanted: Wanted) -> None:
        self._source, self._layout, self._start, self._wanted = source, layout, start, wanted

    def run(self) -> Waveform:
        wanted, layout = self._wanted, self._layout
        with contextlib.closing(open_reader(self._source, layout, self._start)) as reader:
            self._check_reader(reader)
            declared = reader.frames if layout.decoder_counts else layout.frames
            first, last = self._span(reader, declared)
            ends = [end for end in (declared, layout.limit, last) if end is not None]
            end = min(ends) if ends else None
            hint = end if end is not None else reader.frames
            mixer = Mixer(reader.channels, wanted.channel)
            resampler = Resampler(reader.rate, wanted.sampling_rate)
            sink = Sink(
                resampled_length(max(0, hint - first), reader.rate, wanted.sampling_rate)
                if hint is not None
                else None
            )
            position = self._pull(
                reader, first, end, lambda part: sink.append(resampler.push(mixer.mix(part)))
            )
            sink.append(resampler.finish())
            self._check_end(reader.rate, position, declared, first, last)
            samples = sink.take()
            if not samples.size:
                raise self._source.error(
                    Reason.EMPTY, f"{position - first} samples at {reader.rate} Hz"
                )
            return Waveform(
                samples=samples,
                sampling_rate=wanted.sampling_rate,
                source_rate=reader.rate,
                source_frames=position - first,
                channels=reader.channels,
                container=layout.container,
                codec=reader.codec,
                cancelled=mixer.cancelled,
            )

    def _check_reader(self, reader: Reader) -> None:
        if not LOWEST_RATE <= reader.rate <= HIGHEST_RATE:
            raise self._source.error(
                Reason.DECODE_ERROR,
                f"sampling rate {reader.rate} is not in {LOWEST_RATE} to {HIGHEST_RATE}",
            )
        channel = self._wanted.channel
        if isinstance(channel, int) and channel >= reader.channels:
            raise self._source.error(
                Reason.BAD_SEGMENT, f"no channel {channel}, it has {reader.channels} of them"
            )

    def _span(self, reader: Reader, declared: int | None) -> tuple[int, int | None]:
        """First sample and the one behind the last, at the recording's rate.

        Raises:
            AudioError: BAD_SEGMENT outside of the recording, TOO_LONG over the limit, both only as
                far as the header can tell.
        """
        wanted, rate = self._wanted, reader.rate
        first = round(wanted.offset * rate)
        last = None
        if wanted.duration is not None:
            last = round((wanted.offset + wanted.duration) * rate)
            if last <= first:
                raise self._source.error(
                    Reason.BAD_SEGMENT, f"no sample in {wanted.duration!r} s at {rate} Hz"
                )
        known = reader.frames if self._layout.exact_seek and declared is None else declared
        if known is not None and first and first >= known:
            raise self._outside(rate, known)
        ends = [end for end in (known, self._layout.limit, last) if end is not None]
        if ends and min(ends) - first > wanted.max_seconds * rate:
            raise self._too_long((min(ends) - first) / rate)
        return first, last

    def _pull(
        self, reader: Reader, first: int, end: int | None, take: Callable[[Float32], None]
    ) -> int:
        """Hands on samples [first, end) in blocks; returns where the recording ended."""
        allowed = self._wanted.max_seconds * reader.rate
        most = _MOST_VALUES_PER_SECOND * (self._wanted.max_seconds + self._wanted.offset)
        position = 0
        if first and self._layout.exact_seek and end is not None:
            self._guarded(lambda: reader.seek(first))
            position = first
        while end is None or position < end:
            count = BLOCK_VALUES if end is None else end - position
            block = self._guarded(functools.partial(reader.read, count))
            if not len(block):
                break
            part = block[max(0, first - position) :]
            position += len(block)
            if not len(part):
                continue
            if position - first > allowed or position * reader.channels > most:
                raise self._too_long((position - first) / reader.rate)
            bad = first_unusable(part)
            if bad is not None:
                where = position - len(part) + bad
                raise self._source.error(
                    Reason.NON_FINITE, f"sample {where} is {part[bad].tolist()}"
                )
            take(part)
        return position

    def _guarded(self, step: Callable[[], T]) -> T:
        """Runs a step of the decoder; tells a file that was cut from one that is damaged."""
        try:
            return step()
        except AudioError as error:
            if self._layout.container == "flac" and flac.is_cut(self._source, self._start):
                raise self._source.error(
                    Reason.TRUNCATED, f"ends inside a frame, at byte {self._source.size}"
                ) from error
            raise

    def _check_end(
        self, rate: int, position: int, declared: int | None, first: int, last: int | None
    ) -> None:
        """Raises AudioError unless everything came that is declared and wanted, and nothing is left
        over.
        """
        if declared is not None and position < min(declared, last or declared):
            raise self._source.error(
                Reason.TRUNCATED, f"declares {declared} samples and holds {position}"
            )
        limit = self._layout.limit
        if limit is not None and position < min(limit, last or limit) - _DECODER_DELAY:
            raise self._source.error(
                Reason.DECODE_ERROR, f"{position} samples decoded, the frames hold {limit}"
            )
        if position == declared and self._layout.container == "flac":
            flac.check_decoded(self._source, self._start, position)
        if last is not None and position < last - _SEGMENT_SLACK * rate:
            raise self._outside(rate, position)
        if position <= first and (first or last):
            raise self._outside(rate, position)

    def _outside(self, rate: int, frames: int) -> AudioError:
        wanted = self._wanted
        return self._source.error(
            Reason.BAD_SEGMENT,
            f"offset {wanted.offset!r} s, duration {wanted.duration!r} s in {frames / rate!r} s",
        )

    def _too_long(self, seconds: float) -> AudioError:
        return self._source.error(
            Reason.TOO_LONG, f"{seconds:.2f} s or more, the limit is {self._wanted.max_seconds!r} s"
        )
