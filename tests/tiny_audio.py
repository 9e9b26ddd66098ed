"""Recordings of a few hundred milliseconds, made by code, and the folders that hold them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

_SUBTYPES = {"opus": "OPUS", "mp3": "MPEG_LAYER_III"}


def tone(seconds: float, rate: int = 16_000, channels: int = 1, pitch: float = 220.0) -> np.ndarray:
    """float32 [S] or [S, channels], a quiet sine; each channel an octave above the one before."""
    times = np.arange(round(seconds * rate)) / rate
    waves = [0.1 * np.sin(2 * np.pi * pitch * 2**c * times) for c in range(channels)]
    return np.stack(waves, axis=1).astype(np.float32).squeeze()


def encoded(
    extension: str = "wav", seconds: float = 0.2, rate: int = 16_000, channels: int = 1
) -> bytes:
    """The bytes of an audio file; `extension` wav, flac, ogg, opus or mp3."""
    stream = io.BytesIO()
    container = {"opus": "OGG"}.get(extension, extension.upper())
    soundfile.write(
        stream,
        tone(seconds, rate, channels),
        rate,
        format=container,
        subtype=_SUBTYPES.get(extension),
    )
    return stream.getvalue()


def write_audio(path: Path, seconds: float = 0.2, rate: int = 16_000, channels: int = 1) -> Path:
    """An audio file of the kind that its extension names; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(path.suffix[1:], seconds, rate, channels))
    return path
