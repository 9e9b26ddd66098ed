"""Stage 1: a recording in, mono samples at 16 kHz out, or the reason why not.

    samples = read_audio("talk.flac")            # float32 [S]; path, bytes or a readable object
    waves, single = as_waveforms(wav_batch)      # arrays that are already in memory

Read are WAV (RF64, W64), FLAC, Ogg Vorbis and Opus, MP3, AIFF, AU and NIST SPHERE by libsndfile,
and M4A and WebM by PyAV where that is installed. The bytes decide, never the extension. Decoding
runs in blocks: memory is the result and a few blocks, whatever a header says.

A recording comes whole or not at all. What is found, beside what the decoders themselves refuse:

    WAV, W64, AIFF,  fewer bytes than declared; a second file glued behind (WAV)
    AU, NIST
    FLAC             a cut, damage (CRC), more or fewer samples than declared, a second file
    Ogg              a cut, damage (CRC of each page), lost pages, a second stream
    MP3              a cut inside a frame, fewer frames than declared, bytes between frames
    MP4, WebM        a cut, a second file (MP4), shorter than declared
    all              NaN, infinity, values of no scale, no samples, an absurd rate, a file that
                     changes while it is read, more audio than the limit

What cannot be found: damage inside PCM samples, inside an MP3 frame and inside most AAC frames,
which carry no checksum; a cut of a WAV that was written to a pipe and declares no length; a cut
between two frames of a FLAC without a declared length, or of an MP3 whose first frame declares
none; a zero-filled tail of PCM, which is digital silence. Junk behind a complete recording is
passed over.
"""

from spire_dsu.audio.arrays import as_waveforms, check_waveform
from spire_dsu.audio.decode import MAX_SECONDS, Waveform, decode_audio, read_audio
from spire_dsu.audio.fingerprint import decoder_fingerprint
from spire_dsu.audio.isolated import IsolatedDecoder
from spire_dsu.audio.source import AudioSource

__all__ = [
    "MAX_SECONDS",
    "AudioSource",
    "IsolatedDecoder",
    "Waveform",
    "as_waveforms",
    "check_waveform",
    "decode_audio",
    "decoder_fingerprint",
    "read_audio",
]
