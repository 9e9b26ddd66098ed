"""Workers as processes of this machine, one for each GPU, or for each core where there is none."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from spire_dsu.convert.engine import PATIENCE_SECONDS, Answers, Engine
from spire_dsu.convert.job import Facts, Spec

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_LAST_WORDS = 2000
_WAIT_SECONDS = 5.0


@dataclass(slots=True)
class Link:
    """A worker's process and the pipes to it.

    Attributes:
        child: the process.
        answers: descriptor to read from.
        errors: what it writes to standard error.
    """

    child: subprocess.Popen[bytes]
    answers: int
    errors: IO[bytes]
    _held: bytes = b""

    def send(self, request: dict[str, Any]) -> None:
        """One line."""
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(json.dumps(request).encode() + b"\n")
            self.child.stdin.flush()

    def receive(self) -> list[dict[str, Any]] | None:
        """The lines that have come; None when the process is gone."""
        part = os.read(self.answers, 1 << 16)
        *lines, self._held = (self._held + part).split(b"\n")
        return [json.loads(line) for line in lines] if part else None

    def kill(self) -> None:
        """Ends the process whatever it does."""
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.close()
        self.child.kill()

    def end(self) -> str:
        """Ends the process; returns how it ended, with its last words."""
        self.kill()
        try:
            status = self.child.wait(_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "hangs in a call to the system"
        finally:
            os.close(self.answers)
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - _LAST_WORDS))
        words = self.errors.read().decode(errors="replace").strip()
        self.errors.close()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how}: {words}" if words else how


def spawn(program: Sequence[str] = ("-m", "spire_dsu.convert.service")) -> Link:
    """Starts the process of a worker: a new interpreter with nothing of this one's state.

    Args:
        program: what it runs; the descriptor for answers is added.
    """
    answers, answers_of_child = os.pipe()
    errors = tempfile.TemporaryFile()  # noqa: SIM115  (the link closes it)
    try:
        child = subprocess.Popen(  # noqa: S603  (our own module, nothing of the user's)
            [sys.executable, *program, str(answers_of_child)],
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            pass_fds=[answers_of_child],
            # A folder must not be able to replace our modules by its own.
            env={**os.environ, **ONE_THREAD, "PYTHONSAFEPATH": "1"},
        )
    except BaseException:
        os.close(answers)
        errors.close()
        raise
    finally:
        os.close(answers_of_child)
    return Link(child, answers, errors)


class LocalEngine(Engine):
    """See `Engine`."""

    def __init__(
        self, spec: Spec, workers: int | None = None, *, launch: Callable[[], Link] = spawn
    ) -> None:
        """Args: launch: starts the process of a worker."""
        super().__init__(spec, workers)
        self._start_process = launch
        self._links: dict[int, Link] = {}
        self._selector = selectors.DefaultSelector()

    def __exit__(self, *exception: object) -> None:
        for link in self._links.values():
            link.kill()  # all of them, before the first is waited for
        super().__exit__(*exception)
        self._selector.close()

    def _launch(self, worker: int, spec: Spec) -> None:
        link = self._links[worker] = self._start_process()
        self._selector.register(link.answers, selectors.EVENT_READ, worker)
        link.send({"worker": worker, "spec": spec.model_dump(mode="json")})

    def _end(self, worker: int) -> str:
        link = self._links.pop(worker)
        self._selector.unregister(link.answers)
        return link.end()

    def _send(self, worker: int, request: dict[str, Any]) -> None:
        self._links[worker].send(request)

    def _answers(self) -> Answers:
        found: Answers = []
        for key, _ in self._selector.select(PATIENCE_SECONDS):
            answers = self._links[key.data].receive()
            found += [(key.data, each) for each in ([None] if answers is None else answers)]
        return found

    def _room(self, facts: Facts) -> int:
        """One for each GPU; else for each core, as far as a model each fits into free memory."""
        if facts.devices:
            return facts.devices
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next((int(line.split()[1]) << 10 for line in lines if "MemAvailable" in line), 0)
        return max(1, min(len(os.sched_getaffinity(0)), 1 + int(free / (1.5 * facts.memory))))
