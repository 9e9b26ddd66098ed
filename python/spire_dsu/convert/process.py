"""The process of a worker on this machine: requests on standard input, answers on one pipe.

A line of JSON each; the first request is {"worker": 3, "spec": {...}}. The process ends with its
standard input, and so with its parent, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any, BinaryIO

from spire_dsu.convert.service import Service
from spire_dsu.convert.worker import Model


def serve(requests: BinaryIO, answers_fd: int, model: Model | None = None) -> None:
    """Runs a worker and does not return.

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
            leave(1)

    def leave(status: int) -> None:
        # At once: what is not committed is made again, and temporary files are the journal's.
        service.kill_children()
        os._exit(status)

    def listen() -> None:
        for line in requests:
            service.handle(json.loads(line))
        leave(0)

    service = Service(send, model)
    first = json.loads(requests.readline() or b"null")
    if first is not None:
        threading.Thread(target=listen, name="listen", daemon=True).start()
        service.run(first["worker"], first["spec"])
    leave(1)


if __name__ == "__main__":
    serve(sys.stdin.buffer, int(sys.argv[1]))
