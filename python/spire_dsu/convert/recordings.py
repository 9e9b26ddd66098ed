"""One recording: what its rows of the manifest get of it, samples or a reason."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spire_dsu.audio import IsolatedDecoder, Waveform
from spire_dsu.audio.mixing import Mixer, resample
from spire_dsu.errors import AudioError, InputError, Reason
from spire_dsu.types import FRAME_SAMPLES, SAMPLING_RATE, Float32, Utterance

WINDOW_SECONDS = 600.0
"""The most of a recording that is decoded at a time for several rows: 115 MB at 48 kHz."""

_SEEKABLE = {"wav", "flac", "aiff", "au"}  # a row in the middle costs no more than its own length
_MOST_PLANES = 2
_SHORTER = 0.01  # of the declared length: what a rounded or estimated one may be off
_SLACK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A row of the manifest with its samples, or with the reason why it has none.

    Attributes:
        utterance: the row.
        samples: float32 [S], mono, 16 kHz, 400 at least; None where there is a reason.
        num_samples: how many were decoded, 0 where none was.
        reason: `Reason.OK`, or why not.
        message: one sentence on that.
    """

    utterance: Utterance
    samples: Float32 | None
    num_samples: int
    reason: Reason = Reason.OK
    message: str = ""

    def refused(self, reason: Reason, what: str) -> Decoded:
        """The same row without units; its message names the recording."""
        message = f"{self.utterance.source}: {what}"
        return replace(self, samples=None, reason=reason, message=message)


def recordings(rows: Iterator[Utterance]) -> Iterator[list[Utterance]]:
    """Rows in their order, those together that are pieces of one stretch of one recording."""
    group: list[Utterance] = []
    for row in rows:
        if group and not _continues(group, row):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _continues(group: list[Utterance], row: Utterance) -> bool:
    first, last = group[0], group[-1]
    if (row.audio, row.channel) != (first.audio, first.channel):
        return False
    if any(each.problem or each.duration is None for each in (first, row)):
        return False
    end = row.offset + (row.duration or 0.0)
    return row.offset >= last.offset and end - first.offset <= WINDOW_SECONDS  # False for NaN, too


class RecordingDecoder:
    """Decodes in a child process; what kills that twice is the row's fault. For one thread."""

    def __init__(self, *, max_seconds: float, timeout_seconds: float) -> None:
        self.max_seconds = max_seconds
        self.child = IsolatedDecoder(timeout_seconds=timeout_seconds)

    def decode(self, source: str | bytes | AudioError, rows: Sequence[Utterance]) -> list[Decoded]:
        """The rows of one recording.

        Args:
            source: its path or its bytes, or why there are none.
            rows: as `recordings` puts them together.
        """
        first, wave = self._row(source, rows[0])
        rest = rows[1:]
        if rest and wave is not None and wave.container not in _SEEKABLE:
            assert not isinstance(source, AudioError)
            return [first, *self._pieces(source, rest, wave)]
        return [first, *(self._row(source, row)[0] for row in rest)]

    def _row(
        self, source: str | bytes | AudioError, row: Utterance
    ) -> tuple[Decoded, Waveform | None]:
        """One row by itself, and the facts about the recording."""
        if row.problem is not None:
            return Decoded(row, None, 0, *row.problem), None
        try:
            if isinstance(source, AudioError):
                raise source
            wave = self._decode(source, SAMPLING_RATE, row.offset, row.duration, row.channel)
            _check_length(row, wave)
        except AudioError as error:
            return Decoded(row, None, 0, error.reason, text_of(error)), None
        except MemoryError:
            text = f"{row.source}: not enough memory for its samples"
            return Decoded(row, None, 0, Reason.TOO_LONG, text), None
        except InputError as error:  # a channel or a time that no recording can have
            return Decoded(row, None, 0, Reason.BAD_SEGMENT, str(error)), None
        return _decoded(row, wave.samples), wave

    def _decode(
        self,
        source: str | bytes,
        rate: int,
        offset: float,
        duration: float | None,
        channel: int | None,
    ) -> Waveform:
        decode = functools.partial(
            self.child.decode,
            source,
            sampling_rate=rate,
            offset=offset,
            duration=duration,
            max_seconds=self.max_seconds,
            channel="mean" if channel is None else channel,
        )
        try:
            return decode()
        except AudioError:
            # A child that is still there has refused the recording. One that is gone may have been
            # killed by someone else; only what happens twice is the recording's.
            if self.child.pid is not None:
                raise
        return decode()

    def _pieces(
        self, source: str | bytes, rows: Sequence[Utterance], facts: Waveform
    ) -> Iterator[Decoded]:
        """Rows of a recording whose decoder has to begin at its start: decoded once, then cut.

        A piece is cut at the recording's own rate, mixed and resampled by itself, as a decoder does
        that is asked for it alone, so a row does not depend on which rows stand beside it. Where
        anything is unusual, each row is decoded alone.
        """
        rate = facts.source_rate
        spans = [(_at(row.offset, rate), _at(row.offset + _length(row), rate)) for row in rows]
        start, stop = min(first for first, _ in spans), max(last for _, last in spans)
        planes = self._planes(source, rows[0].channel, facts, start, stop)
        for row, (first, last) in zip(rows, spans, strict=True):
            samples = None
            if planes is not None and start <= first < last <= start + planes.shape[1]:
                samples = _mixed(planes[:, first - start : last - start], rate)
            if samples is None or _length(row) > self.max_seconds:
                yield self._row(source, row)[0]
            else:
                yield _decoded(row, samples)

    def _planes(
        self, source: str | bytes, channel: int | None, facts: Waveform, start: int, stop: int
    ) -> Float32 | None:
        """float32 [channels, n], samples [start, stop) at the recording's rate; None: not so."""
        rate = facts.source_rate
        channels = range(facts.channels) if channel is None else [channel]
        if stop <= start or len(channels) > _MOST_PLANES:
            return None
        try:
            span = (start / rate, (stop - start) / rate)
            return np.stack([self._decode(source, rate, *span, one).samples for one in channels])
        except (AudioError, InputError, MemoryError):
            return None  # also where only one row is at fault: each then gets its own reason


def _mixed(block: Float32, rate: int) -> Float32 | None:
    """float32 [channels, n] at `rate` -> mono at 16 kHz; None where nothing is left."""
    mixer = Mixer(len(block), "mean")
    mono = mixer.mix(block.T)
    samples = resample(block[0] if mixer.cancelled else mono, rate, SAMPLING_RATE)
    return np.ascontiguousarray(samples) if samples.size else None


def _decoded(row: Utterance, samples: Float32) -> Decoded:
    whole = Decoded(row, samples, int(samples.size))
    if samples.size < FRAME_SAMPLES:
        text = f"{samples.size} samples at 16 kHz, a frame has {FRAME_SAMPLES}"
        return whole.refused(Reason.TOO_SHORT, text)
    return whole


def _check_length(row: Utterance, wave: Waveform) -> None:
    """Raises AudioError where the manifest knows of more audio than there is."""
    if row.expected is None or row.offset or row.duration is not None:
        return
    found = wave.source_frames / wave.source_rate
    if found < row.expected - max(_SLACK_SECONDS, _SHORTER * row.expected):
        raise AudioError(
            Reason.TRUNCATED,
            f"{row.source}: {found:.2f} s, the manifest declares {row.expected:.2f} s",
        )


def text_of(error: AudioError) -> str:
    """What it says, without its reason."""
    return str(error).removesuffix(f" [{error.reason}]")


def _length(row: Utterance) -> float:
    assert row.duration is not None, "rows are together only where they say how long they are"
    return row.duration


def _at(seconds: float, rate: int) -> int:
    """The decoder's rounding."""
    return round(seconds * rate)
