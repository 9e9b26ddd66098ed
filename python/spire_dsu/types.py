"""The types that flow between stages: audio -> features -> units -> shards.

Shape suffixes, here and everywhere: N utterances, S samples, T frames, D feature size,
K centroids, U units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import InputError, Reason

SAMPLING_RATE = 16_000
"""Samples per second that every encoder here takes."""

FRAME_SAMPLES = 400
"""Samples that one frame sees (25 ms): the receptive field of HuBERT's convolutions."""

HOP_SAMPLES = 320
"""Samples from one frame to the next (20 ms)."""

FRAME_SECONDS = HOP_SAMPLES / SAMPLING_RATE

FIRST_PRIVATE_USE = 0xF0000
"""Code point of unit 0 in the released Spire tokenizers (supplementary private use area A)."""

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt16 = npt.NDArray[np.uint16]
UInt32 = npt.NDArray[np.uint32]


def num_frames(num_samples: int) -> int:
    """Frames that HuBERT makes of n samples at 16 kHz: floor((n - 400) / 320) + 1, or 0 below 400.

    Source: the seven convolutions of the HuBERT extractor (kernels 10,3,3,3,3,2,2; strides
    5,2,2,2,2,2,2), unrolled.
    """
    return 0 if num_samples < FRAME_SAMPLES else (num_samples - FRAME_SAMPLES) // HOP_SAMPLES + 1


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A recording that is a file of its own."""

    path: str


@dataclass(frozen=True, slots=True)
class AudioBytes:
    """A recording inside of a larger file: `size` bytes from byte `start` (a member of a tar)."""

    path: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class AudioCell:
    """A recording in a Parquet file: cell `row` of `column` in row group `row_group`, from 0."""

    path: str
    row_group: int
    row: int
    column: str = "audio"


AudioRef = AudioFile | AudioBytes | AudioCell


@dataclass(frozen=True, slots=True)
class Utterance:
    """One row of a manifest: a recording, or a piece of one, and what is known about it.

    Attributes:
        id: unique in its manifest; names the row and is never used as a path.
        source: where the audio is, as the manifest writes it, in printable text.
        audio: where the audio is, for the decoder. Paths are absolute; bytes that are no UTF-8 are
            held by surrogates, as `os.fsdecode` makes them.
        offset: seconds from the start of the recording to the start of the utterance.
        duration: seconds of the utterance; None: up to the end of the recording. That a piece ends
            behind the end of its recording is known only after decoding: `Reason.BAD_SEGMENT`.
        expected: seconds that the manifest declares for the whole recording (offset 0, duration
            None); compared after decoding, so that a file that lost its tail is found. None:
            nothing is declared.
        text, lang, speaker: as the manifest has them, or None.
        channel: index of the one channel to take; None: the mean of all.
        problem: why the row has no units, where that is known before decoding, with a sentence
            that holds the offending value.
        extra: further columns, as (name, value) pairs: a translation, the sentence id of FLEURS.
    """

    id: str
    source: str
    audio: AudioRef
    offset: float = 0.0
    duration: float | None = None
    expected: float | None = None
    text: str | None = None
    lang: str | None = None
    speaker: str | None = None
    channel: int | None = None
    problem: tuple[Reason, str] | None = None
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Units:
    """The discrete units of one utterance.

    Attributes:
        ids: int32 [U], the index of the nearest centroid; neighbours differ when runs are merged.
        durations: int32 [U], frames of 20 ms that each unit lasts; the sum is the number of frames.
    """

    ids: Int32
    durations: Int32

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or self.ids.shape != self.durations.shape:
            raise InputError(
                "ids and durations must be 1-D and of one length, "
                f"got {self.ids.shape} and {self.durations.shape}"
            )

    def __len__(self) -> int:
        return int(self.ids.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Units):
            return NotImplemented
        return np.array_equal(self.ids, other.ids) and np.array_equal(
            self.durations, other.durations
        )

    __hash__ = None  # type: ignore[assignment]  # arrays are mutable

    @property
    def num_frames(self) -> int:
        """Frames of 20 ms that the units cover."""
        return int(self.durations.sum(dtype=np.int64))

    @property
    def starts(self) -> Int64:
        """int64 [U], the first frame of each unit."""
        return np.cumsum(self.durations, dtype=np.int64) - self.durations

    def to_frames(self) -> Int32:
        """int32 [T], one unit per frame: the run lengths undone."""
        return np.repeat(self.ids, self.durations)

    def to_text(self, form: str = "extra_id") -> str:
        """The units as text, for people and tokenizers; the pipeline itself adds an offset instead.

        Args:
            form: "extra_id" for "<extra_id_17><extra_id_4>" (Megatron's names, and the paper's),
                or "pua" for one private-use character U+F0000 + id per unit, the form of the
                released Spire tokenizers.

        Raises:
            InputError: the form is neither, or a unit over 65,533 has no private-use character.
        """
        if form == "extra_id":
            return "".join(f"<extra_id_{unit}>" for unit in self.ids.tolist())
        if form == "pua":
            if self.ids.size and int(self.ids.max()) > 0xFFFD:
                raise InputError(
                    f"unit {int(self.ids.max())} has no private-use character; the last is 65533"
                )
            return "".join(chr(FIRST_PRIVATE_USE + unit) for unit in self.ids.tolist())
        raise InputError(f"unknown text form {form!r}: use 'extra_id' or 'pua'")


@dataclass(frozen=True, slots=True, eq=False)
class UnitRow:
    """One row of a bulk conversion: an utterance with its units, or the reason why it has none.

    Attributes:
        id: the utterance's name in the manifest.
        status: `Reason.OK`, or why there are no units.
        units: uint16 [U], runs merged; empty unless `status` is ok.
        durations: uint32 [U], frames of 20 ms that each unit lasts.
        num_samples: samples at 16 kHz that were decoded, 0 where none was.
        num_frames: the sum of `durations`.
        text: transcript or translation of the manifest, if any.
        lang: language of the manifest, if any.
        speaker: speaker of the manifest, if any.
        source: where the audio came from, as text.
        offset: seconds from the start of the source.
        duration: seconds that were asked for; None for all that follows.
        message: one sentence on what went wrong; for logs, the shards do not hold it.
    """

    id: str
    status: Reason
    units: UInt16
    durations: UInt32
    num_samples: int
    num_frames: int
    text: str | None = None
    lang: str | None = None
    speaker: str | None = None
    source: str = ""
    offset: float = 0.0
    duration: float | None = None
    message: str = ""
