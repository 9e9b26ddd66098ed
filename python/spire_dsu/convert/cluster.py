"""Workers as actors of a Ray cluster. Ray places them; what is done the journal alone knows."""

from __future__ import annotations

import queue
import threading
from typing import Any

from spire_dsu.convert.engine import PATIENCE_SECONDS, Answers, Engine
from spire_dsu.convert.job import Facts, Spec
from spire_dsu.convert.local import ONE_THREAD
from spire_dsu.convert.service import Service
from spire_dsu.errors import ConfigError

try:
    import ray
except ImportError as error:
    raise ConfigError(f"engine 'ray' needs Ray: pip install 'spire-dsu[ray]' ({error})") from error


class Actor:
    """A `Service` behind Ray's calls."""

    def __init__(self, number: int, spec: dict[str, Any]) -> None:
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._service = Service(self._answers.put)
        threading.Thread(target=self._service.run, args=(number, spec), daemon=True).start()

    def handle(self, request: dict[str, Any]) -> None:
        """Takes a request."""
        self._service.handle(request)

    def poll(self) -> list[dict[str, Any]]:
        """The answers that have come within a moment."""
        try:
            found = [self._answers.get(timeout=PATIENCE_SECONDS)]
        except queue.Empty:
            return []
        while not self._answers.empty():
            found.append(self._answers.get())
        return found


class RayEngine(Engine):
    """See `Engine`. All machines must see the recordings, the output folder and the model under the
    same paths.

    Joins the cluster that this process has joined, or that RAY_ADDRESS names, or makes one of this
    machine. Without a number of workers, there is one for each GPU of the cluster, or for each of
    its cores where none has a GPU.
    """

    def __init__(self, spec: Spec, workers: int | None = None) -> None:
        self._owner = not ray.is_initialized()
        if self._owner:
            # What Ray logs would tear the progress bar apart.
            ray.init(include_dashboard=False, log_to_driver=False)
        on_gpu = spec.device != "cpu" and _resources().get("GPU", 0) >= 1
        self._kind = "GPU" if on_gpu else "CPU"
        # Ray shows an actor the GPU that it may use, and no other.
        super().__init__(spec.model_copy(update={"device": "cuda:0"}) if on_gpu else spec, workers)
        self._actors: dict[int, Any] = {}
        self._polls: dict[Any, int] = {}

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if self._owner:
            ray.shutdown()

    def _launch(self, worker: int, spec: Spec) -> None:
        needs: dict[str, Any] = {"num_gpus": 1} if self._kind == "GPU" else {"num_cpus": 1}
        actor = ray.remote(Actor).options(
            **needs, max_concurrency=2, runtime_env={"env_vars": ONE_THREAD}
        )
        self._actors[worker] = actor.remote(worker, spec.model_dump(mode="json"))
        self._poll(worker)

    def _poll(self, worker: int) -> None:
        self._polls[self._actors[worker].poll.remote()] = worker

    def _end(self, worker: int) -> str:
        self._polls = {poll: whose for poll, whose in self._polls.items() if whose != worker}
        ray.kill(self._actors.pop(worker))
        return "died"

    def _send(self, worker: int, request: dict[str, Any]) -> None:
        self._actors[worker].handle.remote(request)

    def _answers(self) -> Answers:
        found: Answers = []
        ready, _ = ray.wait(list(self._polls), timeout=PATIENCE_SECONDS)
        for poll in ready:
            worker = self._polls.pop(poll)
            try:
                found += [(worker, answer) for answer in ray.get(poll)]
            except ray.exceptions.RayError:
                found.append((worker, None))
            else:
                self._poll(worker)
        return found

    def _room(self, facts: Facts) -> int:
        del facts
        return max(1, int(_resources().get(self._kind, 1)))


def _resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call,unused-ignore]
    return found
