"""A `ShardWorker` behind requests and answers, which are JSON: the same under each engine.

requests   {"target": {...}}   {"shard": 42}
answers    {"ready": {...}}   {"progress": {...}}   {"done": {...}, "tally": {...}}
           {"failed": {"kind": "disk" | "user" | "crash", "text": "..."}}

Run as a program it is the process of a worker on this machine: lines on standard input, the first
of which is {"worker": 3, "spec": {...}}, and answers on one pipe. The process ends with its
standard input, and so with its parent, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from spire_dsu.config import validate
from spire_dsu.convert.feed import FeedClosedError
from spire_dsu.convert.job import Spec, Tally, Target
from spire_dsu.convert.worker import Model, ShardWorker
from spire_dsu.errors import SpireError

_BEAT_SECONDS = 0.5


class Service:
    """Makes the shards that are asked for, one after another, and tells how far it is."""

    def __init__(self, send: Callable[[dict[str, Any]], None], model: Model | None = None) -> None:
        """Args:
        send: takes the answers, from several threads.
        model: instead of the one that the specification names, where it is loaded already.
        """
        self._send = send
        self._model = model
        self._worker: ShardWorker | None = None
        self._begun = threading.Event()
        self._stopped = threading.Event()
        self._beat = threading.Thread(target=self._tell, name="beat", daemon=True)

    def run(self, number: int, spec: dict[str, Any]) -> None:
        """Loads the model and makes shards, until that has failed or `stop` is called.

        Args:
            number: of the worker.
            spec: a `Spec`, as JSON.
        """
        try:
            self._worker = ShardWorker(validate(spec, Spec, "worker"), self._model)
            self._send({"ready": self._worker.facts().model_dump(mode="json")})
            self._begun.wait()
            self._beat.start()
            while not self._stopped.is_set():
                done = self._worker.make_next(number)
                info, tally = done.info.model_dump(mode="json"), done.tally.model_dump(mode="json")
                self._send({"done": info, "tally": tally})
        except FeedClosedError:
            return
        except BaseException as error:
            self._send({"failed": _failure(error)})

    def handle(self, request: dict[str, Any]) -> None:
        """Takes a request; none comes before the answer `ready`."""
        assert self._worker is not None, "a request before the answer `ready`"
        if "target" in request:
            self._worker.begin(validate(request["target"], Target, "worker"))
            self._begun.set()
        else:
            self._worker.feed.enqueue(request["shard"])

    def stop(self) -> None:
        """Ends threads and children, from another thread than `run`; what is begun is dropped."""
        self._stopped.set()
        self._begun.set()
        if self._worker is not None:
            self._worker.feed.close()
        if self._beat.is_alive():
            self._beat.join()

    def leave(self, status: int) -> None:
        """Ends the process at once: what is not committed is made again, and temporary files are
        the journal's. Decoders that hang would outlive it."""
        if self._worker is not None:
            self._worker.feed.kill_children()
        os._exit(status)

    def _tell(self) -> None:
        assert self._worker is not None
        before = Tally()
        while not self._stopped.wait(_BEAT_SECONDS):
            tally = self._worker.tally()
            if tally != before:
                self._send({"progress": tally.model_dump(mode="json")})
            before = tally


def _failure(error: BaseException) -> dict[str, Any]:
    """An error as an answer: the disk's with its number, a user's with its text, or a crash."""
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        return {"kind": "disk", "errno": error.errno, "text": text, "file": error.filename}
    if isinstance(error, SpireError):
        return {"kind": "user", "text": str(error)}
    return {"kind": "crash", "text": "".join(traceback.format_exception(error)).strip()}


def serve(requests: BinaryIO, answers_fd: int, model: Model | None = None) -> None:
    """Runs a worker in this process and does not return.

    Args:
        requests: where they come from.
        answers_fd: where answers go.
        model: as for `Service`.
    """
    # A terminal or a scheduler sends these to all processes of a job; the parent answers them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lock = threading.Lock()

    def send(answer: dict[str, Any]) -> None:
        line = memoryview(json.dumps(answer, default=str).encode() + b"\n")
        try:
            with lock:
                while line:
                    line = line[os.write(answers_fd, line) :]
        except OSError:
            service.leave(1)

    def listen() -> None:
        for line in requests:
            service.handle(json.loads(line))
        service.leave(0)

    service = Service(send, model)
    first = json.loads(requests.readline() or b"null")
    if first is not None:
        threading.Thread(target=listen, name="listen", daemon=True).start()
        service.run(first["worker"], first["spec"])
    service.leave(1)


if __name__ == "__main__":
    serve(sys.stdin.buffer, int(sys.argv[1]))
