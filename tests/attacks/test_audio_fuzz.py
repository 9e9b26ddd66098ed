"""Mutated recordings: each is taken with finite samples, or refused with a reason, and nothing
dies.

The child process decodes, so that a crash of a native decoder is a failure here and not the end of
the run. SPIRE_TEST_MULTIPLIER=100 makes a long run of it.
"""

from __future__ import annotations

import functools
import os
import random
import zlib
from collections import Counter

import numpy as np
import pytest
from audio_makers import encode, flac_of_constants, ogg_pages, pcm16, sealed, voice, wav

from spire_dsu.audio import IsolatedDecoder
from spire_dsu.errors import AudioError, Reason

ROUNDS = 340 * int(os.environ.get("SPIRE_TEST_MULTIPLIER", "1"))
EDGES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80")

SEEDS = {
    "wav": lambda: wav(pcm16(voice(0.05))),
    "wav of floats": lambda: encode(voice(0.05, 44_100, 2), "WAV", 44_100, "FLOAT"),
    "wav of ADPCM": lambda: encode(voice(0.1), "WAV", subtype="IMA_ADPCM"),
    "RF64": lambda: encode(voice(0.05), "RF64"),
    "W64": lambda: encode(voice(0.05), "W64"),
    "AIFF": lambda: encode(voice(0.05), "AIFF"),
    "AU": lambda: encode(voice(0.05), "AU", subtype="ULAW"),
    "NIST": lambda: encode(voice(0.05), "NIST"),
    "FLAC": lambda: encode(voice(0.2), "FLAC"),
    "FLAC of constants": lambda: flac_of_constants([4096] * 12),
    "Vorbis": lambda: encode(voice(0.2), "VORBIS"),
    "Opus": lambda: encode(voice(0.2), "OPUS"),
    "MP3": lambda: encode(voice(0.3), "MP3"),
    "MP3 stereo": lambda: encode(voice(0.2, 44_100, 2), "MP3", 44_100),
}
REASONS = {
    Reason.EMPTY,
    Reason.TOO_LONG,
    Reason.NON_FINITE,
    Reason.DECODE_ERROR,
    Reason.TRUNCATED,
}


@functools.cache
def seed(name: str) -> bytes:
    return SEEDS[name]()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same bytes after one to eight changes, most of them in the first few hundred."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if len(out) < 2:
            break
        at = rng.randrange(min(len(out), rng.choice((64, 256, len(out)))))
        other, count = rng.randrange(len(out)), rng.randrange(1, 400)
        change = rng.randrange(7)
        if change == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif change == 2:
            out[at : at + 4] = rng.choice(EDGES)
        elif change == 3:
            del out[at : at + rng.choice((1, 4, 64, len(out)))]
        elif change == 4:
            out[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif change == 5:
            out[at : at + count] = out[other : other + count]
        else:
            out[at:at] = out[other : other + count]
    return bytes(out)


def resealed(data: bytes) -> bytes:
    """Ogg pages with right checksums again, so that a mutation reaches the decoder."""
    try:
        return b"".join(sealed(page) for page in ogg_pages(data))
    except IndexError:  # no longer pages throughout
        return data


@pytest.mark.parametrize("name", SEEDS)
def test_mutations(name: str) -> None:
    rng = random.Random(zlib.crc32(name.encode()))
    outcomes: Counter[str] = Counter()
    with IsolatedDecoder(timeout_seconds=600, memory_bytes=1 << 30) as decoder:
        for number in range(ROUNDS):
            data = mutated(seed(name), rng)
            if name in ("Vorbis", "Opus") and rng.random() < 0.7:
                data = resealed(data)
            try:
                waveform = decoder.decode(data, max_seconds=600)
            except AudioError as error:
                reason, text = error.reason, str(error)
                assert reason in REASONS, f"{name} {number}: {text}"
                assert "process" not in text, f"{name} {number}: {text}"
                outcomes[str(reason)] += 1
            else:
                assert waveform.samples.size > 0
                assert np.isfinite(waveform.samples).all()
                outcomes["ok"] += 1
    assert outcomes.total() == ROUNDS
    assert len(outcomes) >= 3, outcomes


def test_noise_behind_every_first_mark() -> None:
    marks = [b"RIFF", b"RIFX", b"RF64", b"riff\x2e\x91\xcf\x11", b"FORM", b".snd", b"NIST_1A"]
    marks += [b"fLaC", b"OggS", b"ID3\x04\0\0\0\0\0\0", b"\xff\xfb\x90\x64", b"\x1a\x45\xdf\xa3"]
    marks += [b"\0\0\0\x18ftypM4A "]
    rng = random.Random(20)
    with IsolatedDecoder(timeout_seconds=600, memory_bytes=1 << 30) as decoder:
        for number in range(ROUNDS):
            data = marks[number % len(marks)] + rng.randbytes(rng.randrange(3_000))
            with pytest.raises(AudioError) as caught:
                decoder.decode(data, max_seconds=600)
            assert caught.value.reason in REASONS
            assert "process" not in str(caught.value)
