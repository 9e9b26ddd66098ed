"""Decoding in a process of its own, for input that nobody has looked at.

A decoder can crash, spin for ever or ask for all memory on bytes made to that end. Here that costs
one child process and one row: it is killed at its time limit, it may not map more memory than it
was given, and the next recording gets a new one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from types import TracebackType
from typing import Any

import numpy as np

from spire_dsu.audio.decode import MAX_SECONDS, Waveform, check_wanted
from spire_dsu.audio.mixing import Channel
from spire_dsu.audio.source import printable
from spire_dsu.audio.worker import FACTS, READY
from spire_dsu.errors import AudioError, InputError, Reason
from spire_dsu.types import SAMPLING_RATE, Float32

_START_SECONDS = 120.0
_LONGEST_LINE = 1 << 16
_PIPE_BYTES = 1 << 20


class _DiedError(Exception):
    """The child has closed its pipe."""


class _LateError(Exception):
    """The time limit has passed."""


class IsolatedDecoder:
    """One child process that decodes, replaced when it dies. For one thread at a time.

    with IsolatedDecoder(timeout_seconds=60) as decoder:
        waveform = decoder.decode("talk.flac")
    """

    def __init__(self, *, timeout_seconds: float = 60.0, memory_bytes: int = 3 << 30) -> None:
        """Starts nothing yet.

        Args:
            timeout_seconds: for one recording, from the request to its last sample.
            memory_bytes: address space that the child may map beyond what Python and its libraries
                need; the samples of a recording must fit in.
        """
        if not (math.isfinite(timeout_seconds) and timeout_seconds > 0):
            raise InputError(f"timeout_seconds must be above 0, got {timeout_seconds!r}")
        if memory_bytes < 1 << 24:
            raise InputError(f"memory_bytes must be at least 16 MiB, got {memory_bytes!r}")
        self._timeout = timeout_seconds
        self._memory = memory_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._answers = -1
        self._held = bytearray()

    @property
    def pid(self) -> int | None:
        """Of the child that is running, None where none is."""
        return self._child.pid if self._child else None

    def decode(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        sampling_rate: int = SAMPLING_RATE,
        offset: float = 0.0,
        duration: float | None = None,
        max_seconds: float = MAX_SECONDS,
        channel: Channel = "mean",
    ) -> Waveform:
        """As `decode_audio`, in the child.

        Args:
            source: a path, or the content as bytes.
            sampling_rate, offset, duration, max_seconds, channel: as for `decode_audio`.

        Raises:
            AudioError: also TIMEOUT, and DECODE_ERROR when the child died on this recording.
            InputError: as `decode_audio`.
            RuntimeError: the child cannot be started.
        """
        wanted = check_wanted(sampling_rate, offset, duration, max_seconds, channel)
        if isinstance(source, bytes):
            path, content, name = None, source, f"<{len(source)} bytes>"
        elif isinstance(source, (str, os.PathLike)):
            path, content = os.fsdecode(source), b""
            name = printable(path)
        else:
            raise InputError(f"audio must be a path or bytes here, got {type(source).__name__}")
        request = {
            "path": path,
            "size": len(content),
            "seconds": self._timeout,
            "options": asdict(wanted),
        }
        longest = wanted.max_seconds * wanted.sampling_rate
        self._start()
        deadline = time.monotonic() + self._timeout
        try:
            self._send(json.dumps(request).encode() + b"\n" + content, deadline)
            answer = json.loads(self._receive_line(deadline))
            if "reason" in answer:
                raise _refusal(answer)
            samples = self._receive_samples(answer["count"], longest, deadline)
            return Waveform(samples=samples, **{fact: answer[fact] for fact in FACTS})
        except _LateError:
            self._kill()
            raise AudioError(
                Reason.TIMEOUT, f"{name}: not decoded after {self._timeout:g} s"
            ) from None
        except (_DiedError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, (AudioError, InputError)):
                raise
            raise self._post_mortem(name) from error
        except BaseException:
            self._kill()  # an answer that nobody reads must not meet the next request
            raise

    def close(self) -> None:
        """Ends the child."""
        self._kill()

    def __enter__(self) -> IsolatedDecoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        self._kill()
        answers, answers_of_child = os.pipe()
        try:
            self._child = subprocess.Popen(  # noqa: S603  # our own module, nothing of the user's
                [
                    sys.executable,
                    "-m",
                    "spire_dsu.audio.worker",
                    str(answers_of_child),
                    str(self._memory),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[answers_of_child],
                # A folder must not be able to replace our modules by its own.
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )
        except BaseException:
            os.close(answers)
            raise
        finally:
            os.close(answers_of_child)
        self._answers = answers
        os.set_blocking(answers, False)
        os.set_blocking(self._stdin(), False)
        try:
            greeting = self._receive_line(time.monotonic() + _START_SECONDS)
        except (_DiedError, _LateError):
            greeting = b""
        if greeting + b"\n" != READY:
            status = self._kill()
            raise RuntimeError(f"the decoding process cannot start (exit status {status})")

    def _stdin(self) -> int:
        assert self._child is not None
        assert self._child.stdin is not None
        return self._child.stdin.fileno()

    def _kill(self) -> int | None:
        """Ends the child whatever it does; returns its exit status."""
        child, self._child = self._child, None
        self._held.clear()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1
        if child is None:
            return None
        child.kill()
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()
        return child.wait()

    def _post_mortem(self, name: str) -> AudioError:
        """What to say of a child that died, or that answered nonsense."""
        status = self._child.wait(5) if self._child and self._gone() else None
        self._kill()
        if status == -signal.SIGXCPU:
            return AudioError(Reason.TIMEOUT, f"{name}: not decoded after {self._timeout:g} s")
        how = "answered nonsense" if status is None else f"died with status {status}"
        return AudioError(Reason.DECODE_ERROR, f"{name}: the decoding process {how}")

    def _gone(self) -> bool:
        """Whether the child has ended, or closed its pipe and is about to."""
        assert self._child is not None
        try:
            self._child.wait(1)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait_for(self._stdin(), select.POLLOUT, deadline)
            try:
                left = left[os.write(self._stdin(), left[:_PIPE_BYTES]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise _DiedError from error

    def _receive_line(self, deadline: float) -> bytes:
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > _LONGEST_LINE:
                raise ValueError("a line without end")
            self._held += self._some(deadline)
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    def _receive_samples(self, count: int, longest: float, deadline: float) -> Float32:
        # The child may have been taken over by what it decoded: its numbers are checked as well.
        if not 0 < count <= longest + 1:
            raise ValueError(f"{count} samples")
        samples = np.empty(count, np.float32)
        target = samples.data.cast("B")
        if len(self._held) > len(target):
            raise ValueError("more bytes than samples")
        done = len(self._held)
        target[:done] = self._held
        self._held.clear()
        while done < len(target):
            self._wait_for(self._answers, select.POLLIN, deadline)
            part = os.readv(self._answers, [target[done:]])
            if not part:
                raise _DiedError
            done += part
        return samples

    def _some(self, deadline: float) -> bytes:
        self._wait_for(self._answers, select.POLLIN, deadline)
        part = os.read(self._answers, _LONGEST_LINE)
        if not part:
            raise _DiedError
        return part

    def _wait_for(self, fd: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(fd, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise _LateError


def _refusal(answer: dict[str, Any]) -> AudioError | InputError:
    text = str(answer["message"])
    return (
        InputError(text) if answer["reason"] is None else AudioError(Reason(answer["reason"]), text)
    )
