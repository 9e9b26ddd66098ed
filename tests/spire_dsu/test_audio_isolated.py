"""The child process that decodes: same samples, and what comes of a hang, a death, a swelling."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from audio_makers import encode, flac_of_constants, voice, with_flac_total

from spire_dsu.audio import IsolatedDecoder, decode_audio
from spire_dsu.errors import AudioError, InputError, Reason

SOUND = voice(0.5, 24_000, 2)


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder() as child:
        yield child


def reason(child: IsolatedDecoder, source: object, **options: object) -> Reason:
    with pytest.raises(AudioError) as caught:
        child.decode(source, **options)
    return caught.value.reason


def stopped(child: IsolatedDecoder) -> int:
    """Starts the child where it is not running, and stops it: it hangs from now on."""
    child.decode(encode(voice(0.1)))
    os.kill(child.pid, signal.SIGSTOP)
    return child.pid


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OPUS", "VORBIS", "MP3"])
def test_the_same_as_in_this_process(kind: str, decoder: IsolatedDecoder, tmp_path: Path) -> None:
    data = encode(SOUND, kind, 24_000)
    path = tmp_path / os.fsdecode(b"na\xefve")
    path.write_bytes(data)
    for source in (data, path, str(path)):
        for options in ({}, {"offset": 0.1, "duration": 0.2, "channel": 1, "sampling_rate": 8_000}):
            here, there = decode_audio(source, **options), decoder.decode(source, **options)
            np.testing.assert_array_equal(here.samples, there.samples)
            for fact in ("source_rate", "source_frames", "channels", "container", "codec"):
                assert getattr(here, fact) == getattr(there, fact)


def test_cancelled_channels_are_told(decoder: IsolatedDecoder) -> None:
    assert decoder.decode(encode(np.stack([voice(0.1), -voice(0.1)], axis=1))).cancelled


def test_reasons_and_messages_come_through(decoder: IsolatedDecoder) -> None:
    data = encode(SOUND, "FLAC", 24_000)
    pid = decoder.pid
    assert reason(decoder, "/nowhere/a.wav") is Reason.MISSING
    assert reason(decoder, "/dev/zero") is Reason.MISSING
    assert reason(decoder, b"") is Reason.EMPTY
    assert reason(decoder, data[:-5]) is Reason.TRUNCATED
    assert reason(decoder, data, offset=7) is Reason.BAD_SEGMENT
    assert reason(decoder, data, max_seconds=0.1) is Reason.TOO_LONG
    with pytest.raises(AudioError, match=r"^<4 bytes>: .*b'junk' \[decode_error\]$"):
        decoder.decode(b"junk")
    assert decoder.pid == pid or pid is None


@pytest.mark.parametrize("options", [{"channel": "left"}, {"sampling_rate": 3}, {"max_seconds": 0}])
def test_a_wrong_argument_never_reaches_the_child(
    options: dict[str, object], decoder: IsolatedDecoder
) -> None:
    with pytest.raises(InputError):
        decoder.decode(encode(SOUND), **options)
    with pytest.raises(InputError, match="NoneType"):
        decoder.decode(None)


@pytest.mark.parametrize(
    "options", [{"timeout_seconds": 0}, {"timeout_seconds": float("nan")}, {"memory_bytes": 5}]
)
def test_a_limit_that_is_none(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        IsolatedDecoder(**options)


def test_a_child_that_hangs_is_killed() -> None:
    with IsolatedDecoder(timeout_seconds=2) as child:
        pid = stopped(child)
        assert reason(child, encode(SOUND)) is Reason.TIMEOUT
        assert not Path(f"/proc/{pid}").exists()
        # Also while it takes in a recording larger than the pipe.
        stopped(child)
        assert reason(child, bytes(4 << 20)) is Reason.TIMEOUT


def test_work_that_takes_too_long_is_stopped() -> None:
    bomb = flac_of_constants([65_535] * 20_000, total=0, block=65_535)  # about a minute of work
    with IsolatedDecoder(timeout_seconds=2, memory_bytes=8 << 30) as child:
        child.decode(encode(voice(0.1)))
        assert reason(child, bomb, max_seconds=1e6) is Reason.TIMEOUT
        assert child.decode(encode(voice(0.1))).samples.size == 1_600


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_child_that_dies_costs_one_recording(number: signal.Signals) -> None:
    with IsolatedDecoder(timeout_seconds=600) as child:
        pid = stopped(child)
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
        data = encode(SOUND, "FLAC", 24_000)
        try:
            child.decode(data)  # it was dead before the request: a new one takes it
        except AudioError as error:
            dead = error  # it died with the request
        else:
            dead = None
        assert dead is None or dead.reason is Reason.DECODE_ERROR
        assert child.decode(data).samples.size == 8_000
        assert child.pid != pid


def test_a_child_without_enough_memory_refuses_and_lives() -> None:
    hour = flac_of_constants([65_535] * 880, block=65_535)
    with IsolatedDecoder(memory_bytes=64 << 20) as child:
        child.decode(encode(SOUND))
        pid = child.pid
        assert reason(child, hour) is Reason.TOO_LONG
        assert child.decode(encode(SOUND)).samples.size == SOUND.shape[0]
        assert child.pid == pid


def test_a_header_that_declares_everything_costs_nothing(decoder: IsolatedDecoder) -> None:
    lie = with_flac_total(encode(voice(0.2), "FLAC"), (1 << 36) - 1)
    assert reason(decoder, lie, max_seconds=float("inf")) is Reason.TRUNCATED


def test_an_abandoned_answer_does_not_meet_the_next_request() -> None:
    class InterruptedHere(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise InterruptedHere

    short = encode(voice(0.25))
    with IsolatedDecoder() as child:
        pid = stopped(child)  # it would answer some time
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(InterruptedHere):
                child.decode(encode(voice(0.5)))
        finally:
            signal.signal(signal.SIGALRM, before)
        assert child.decode(short).samples.size == 4_000
        assert child.pid != pid


def test_close_leaves_no_process_and_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    child = IsolatedDecoder()
    assert child.pid is None
    child.decode(encode(voice(0.1)))
    pid = child.pid
    child.close()
    child.close()
    assert child.pid is None
    deadline = time.monotonic() + 600
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_child_ends_with_its_parent() -> None:
    child = IsolatedDecoder()
    child.decode(encode(voice(0.1)))
    process = child._child
    process.stdin.close()  # what the kernel does when the parent dies
    assert process.wait(600) == 0
    child.close()
