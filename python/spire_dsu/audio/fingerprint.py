"""Which code turns bytes into samples: units depend on it, so it is part of a conversion's
fingerprint.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import soundfile
import soxr

from spire_dsu.audio.mixing import RESAMPLER_QUALITY


def decoder_fingerprint() -> dict[str, str]:
    """Versions and settings that decide the samples, by name; equal means equal samples.

    `soundfile` stands for the codecs that its wheel carries (FLAC, Vorbis, Opus, MP3), whose
    versions libsndfile does not tell. `av` is "absent" where M4A and WebM cannot be read.
    """
    return {
        "libsndfile": soundfile.__libsndfile_version__,
        "soundfile": soundfile.__version__,
        "soxr": soxr.__libsoxr_version__,
        "resampler": f"soxr {RESAMPLER_QUALITY} float32",
        "mixing": "mean; first channel where the mean cancels",
        "av": _version_or_absent("av"),
    }


def _version_or_absent(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
