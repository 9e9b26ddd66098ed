"""The process that decodes for `IsolatedDecoder`: requests on standard input, answers on one pipe.

Both ways go a line of JSON and then raw bytes: the recording's content inwards where it is not a
path, float32 samples outwards. Nothing is unpickled on either side.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from spire_dsu.audio.decode import Waveform, decode_audio
from spire_dsu.errors import AudioError, InputError

READY = b"ready\n"
FACTS = (
    "sampling_rate",
    "source_rate",
    "source_frames",
    "channels",
    "container",
    "codec",
    "cancelled",
)


def main(answers_fd: int, memory_bytes: int) -> None:
    """Serves requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_AS, _address_space() + memory_bytes)
    requests, answers = sys.stdin.buffer, os.fdopen(answers_fd, "wb")
    answers.write(READY)
    answers.flush()
    while line := requests.readline():
        _serve(json.loads(line), requests, answers)
        answers.flush()


def _serve(request: dict[str, Any], requests: BinaryIO, answers: BinaryIO) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The parent kills at its time limit; the kernel does where the parent is gone.
    seconds = used.ru_utime + used.ru_stime + request["seconds"]
    _limit(resource.RLIMIT_CPU, int(seconds) + 2)
    path = request["path"]
    source = requests.read(request["size"]) if path is None else path
    try:
        waveform = decode_audio(source, **request["options"])
    except AudioError as error:
        text = str(error).removesuffix(f" [{error.reason}]")
        answers.write(_line({"reason": error.reason.value, "message": text}))
    except InputError as error:
        answers.write(_line({"reason": None, "message": str(error)}))
    else:
        answers.write(_line(_facts(waveform)))
        answers.write(waveform.samples.data.cast("B"))


def _facts(waveform: Waveform) -> dict[str, Any]:
    return {"count": waveform.samples.size} | {name: getattr(waveform, name) for name in FACTS}


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, hard))


def _address_space() -> int:
    """Bytes of address space in use: what the interpreter and its libraries have mapped so far."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
