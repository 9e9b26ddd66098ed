"""What can go wrong, as a closed set of names.

`Reason` is what a row of a bulk conversion carries instead of units; the exceptions are what a
direct call raises. Every exception derives from ValueError, and its text holds the offending value.
"""

from __future__ import annotations

import enum


class Reason(str, enum.Enum):
    """Why an utterance has no units. Closed: a new one is added here, with its tests."""

    OK = "ok"
    EMPTY = "empty"  # the recording holds no sample at all
    TOO_SHORT = "too_short"  # under 400 samples at 16 kHz: no frame
    TOO_LONG = "too_long"  # more audio than the configured limit
    NON_FINITE = "non_finite"  # NaN or infinity among the samples
    MISSING = "missing"  # no such file, or not a readable regular file
    DECODE_ERROR = "decode_error"  # the decoder refused the bytes
    TRUNCATED = "truncated"  # the file ends before the audio that it declares
    TIMEOUT = "timeout"  # the decoder was stopped after its time limit
    BAD_SEGMENT = "bad_segment"  # offset or duration outside of the recording

    def __str__(self) -> str:
        return self.value


class SpireError(ValueError):
    """Base of every error that a user's input can cause."""


class InputError(SpireError):
    """A wrong shape, dtype, rate or value in a direct call."""


class ModelError(SpireError):
    """A model folder, preset, hub id or codebook that cannot be used."""


class ConfigError(SpireError):
    """A configuration file or value that is not accepted."""


class ManifestError(SpireError):
    """A list of recordings that cannot be read; the text names the file, and the line if any."""


class AudioError(SpireError):
    """Audio that has no units, with the `Reason` that a bulk conversion would record."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{message} [{reason}]")
        self.reason = reason
