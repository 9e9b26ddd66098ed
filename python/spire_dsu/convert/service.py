"""A `ShardWorker` behind requests and answers, which are JSON: the same under each engine.

requests   {"target": {...}}   {"shard": 42}
answers    {"ready": {...}}   {"progress": {...}}   {"done": {...}, "tally": {...}}
           {"failed": {"kind": "disk" | "user" | "crash", "text": "..."}}
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from typing import Any

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
            self._worker = ShardWorker(Spec.model_validate_json(json.dumps(spec)), self._model)
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
            self._worker.begin(Target.model_validate_json(json.dumps(request["target"])))
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

    def kill_children(self) -> None:
        """Before the process ends by itself: decoders that hang would outlive it."""
        if self._worker is not None:
            self._worker.feed.kill_children()

    def _tell(self) -> None:
        assert self._worker is not None
        before: Tally | None = None
        while not self._stopped.wait(_BEAT_SECONDS):
            tally = self._worker.tally()
            if tally is not before:
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
