"""Hands out shards to workers and brings back what is to be committed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from spire_dsu.config import validate
from spire_dsu.convert.job import (
    Check,
    Died,
    Done,
    Event,
    Facts,
    Progress,
    Spec,
    Tally,
    Target,
    Waiting,
    WorkersDied,
)
from spire_dsu.errors import SpireError
from spire_dsu.shards import ShardInfo

PATIENCE_SECONDS = 0.5
MOST_DEATHS = 12
"""Workers that may die on one shard, or in a row, before the job stops: no row is to blame then."""

Answers = list[tuple[int, dict[str, Any] | None]]
"""Workers with what each has answered; None from one that is gone."""


class Engine(ABC):
    """A context manager, at whose end no worker is left.

    What a kind of engine adds is how a worker starts and ends, and how requests and answers reach
    it; `service` says which there are.
    """

    def __init__(self, spec: Spec, workers: int | None = None) -> None:
        """Args: spec: what to work on. workers: how many; None: as many as there is room for."""
        self.spec = spec
        self._wanted = workers
        self._open: set[int] = set()
        self._ready: set[int] = set()
        self._facts: Facts | None = None
        self._target: Target | None = None
        self._failures = 0

    @abstractmethod
    def _launch(self, worker: int, spec: Spec) -> None:
        """Starts a worker, whose first answer will be `ready`."""

    @abstractmethod
    def _end(self, worker: int) -> str:
        """Ends a worker whatever it does; says how it ended."""

    @abstractmethod
    def _send(self, worker: int, request: dict[str, Any]) -> None:
        """Hands a request to a worker; one that is gone is noticed by its answers."""

    @abstractmethod
    def _answers(self) -> Answers:
        """What has come within PATIENCE_SECONDS."""

    @abstractmethod
    def _room(self, facts: Facts) -> int:
        """For how many workers there is room."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in list(self._open):
            self._close(worker)

    def start(self, check: Check) -> Facts:
        """Starts the first worker, which tells what the output depends on.

        Raises:
            SpireError: the model cannot be used.
            WorkersDied: the worker cannot start.
        """
        self._start(0)
        while self._facts is None:
            check()
            list(self._events())
        return self._facts

    def run(self, target: Target, shards: Sequence[int], check: Check) -> Iterator[Event]:
        """Makes the shards, in any order; each is in one `Done`.

        Raises:
            OSError: the disk failed; of a full one, with its errno.
            SpireError: what no worker can go on with.
            WorkersDied: they die again and again.
        """
        assert self._facts is not None, "start comes first"
        self._target = target
        work = Assignments(list(shards))
        count = min(self._wanted or self._room(self._facts), len(shards))
        for worker in self._ready:
            self._begin(worker)
        while work.open:
            for worker in set(range(count)) - self._open:
                self._start(worker)
            for worker in self._ready:
                while (shard := work.next_for(worker, count)) is not None:
                    self._send(worker, {"shard": shard})
            check()
            for event in list(self._events()) or [Waiting(work.current())]:
                if isinstance(event, Done):
                    work.done(event.worker, event.info.index)
                    if event.tally.samples:  # else its rows may all have been given up
                        self._failures = 0
                elif isinstance(event, Died):
                    work.lost(event.worker, event.text)
                yield event

    def _start(self, worker: int) -> None:
        spec = self.spec
        if self._facts and self._facts.devices and spec.device in ("auto", "cuda"):
            spec = spec.model_copy(update={"device": f"cuda:{worker % self._facts.devices}"})
        self._launch(worker, spec)
        self._open.add(worker)

    def _begin(self, worker: int) -> None:
        assert self._target is not None
        self._send(worker, {"target": self._target.model_dump(mode="json")})

    def _close(self, worker: int) -> str:
        self._open.discard(worker)
        self._ready.discard(worker)
        return self._end(worker)

    def _events(self) -> Iterator[Event]:
        for worker, answer in self._answers():
            if worker not in self._open:
                continue  # closed by an answer before this one
            if answer is None:
                yield self._died(worker, self._close(worker))
            elif "failed" in answer:
                self._close(worker)
                yield self._died(worker, crash_text(answer["failed"]))
            elif "ready" in answer:
                self._accept(worker, validate(answer["ready"], Facts, "worker"))
            elif "done" in answer:
                info = validate(answer["done"], ShardInfo, "worker")
                yield Done(worker, info, validate(answer["tally"], Tally, "worker"))
            else:
                yield Progress(worker, validate(answer["progress"], Tally, "worker"))

    def _accept(self, worker: int, facts: Facts) -> None:
        if self._facts is None:
            self._facts = facts
        _check_same(self._facts.fingerprint, facts.fingerprint)
        self._ready.add(worker)
        if self._target is not None:
            self._begin(worker)

    def _died(self, worker: int, text: str) -> Died:
        self._failures += 1
        if self._facts is None or self._failures >= MOST_DEATHS:
            raise WorkersDied(f"a worker {text}")
        return Died(worker, text)


@dataclass(slots=True)
class Assignments:
    """Which worker has which shards, how many died on each, and what is left to give.

    A worker has two: the one it is on, and the next, whose first rows it decodes meanwhile.
    """

    left: list[int]
    held: dict[int, list[int]] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.left = sorted(self.left, reverse=True)

    def next_for(self, worker: int, workers: int) -> int | None:
        """The shard to give to a worker now; None where it has enough."""
        mine = self.held.setdefault(worker, [])
        spare = len(self.left) >= workers  # the last ones go to who is free first
        if not self.left or len(mine) >= (2 if spare else 1):
            return None
        mine.append(self.left.pop())
        return mine[-1]

    def done(self, worker: int, shard: int) -> None:
        """The worker has made it."""
        self.held[worker].remove(shard)

    def lost(self, worker: int, text: str) -> None:
        """The worker is gone: its shards are to be given again.

        Raises:
            WorkersDied: too many died on one shard.
        """
        mine = self.held.pop(worker, [])
        if mine:
            self.deaths[mine[0]] += 1
            if self.deaths[mine[0]] >= MOST_DEATHS:
                raise WorkersDied(f"{MOST_DEATHS} workers died on shard {mine[0]}; the last {text}")
        self.left = sorted([*self.left, *mine], reverse=True)

    @property
    def open(self) -> bool:
        """Whether any shard is not done."""
        return bool(self.left) or any(self.held.values())

    def current(self) -> tuple[int, ...]:
        """The shards that workers are on."""
        return tuple(sorted(mine[0] for mine in self.held.values() if mine))


def crash_text(failed: dict[str, Any]) -> str:
    """What a worker's failure says, where the job can go on without that worker.

    Raises:
        OSError: the disk failed it.
        SpireError: what every worker would run into.
    """
    if failed["kind"] == "disk":
        raise OSError(failed["errno"], failed["text"], failed["file"])
    if failed["kind"] == "user":
        raise SpireError(failed["text"])
    return f"failed: {failed['text']}"


def _check_same(first: dict[str, Any], other: dict[str, Any]) -> None:
    """Refuses a worker on which the same audio may have other units."""
    differing = [f"{k}: {v!r} and {other.get(k)!r}" for k, v in first.items() if v != other.get(k)]
    if differing:
        raise SpireError(f"two workers would not make the same units: {'; '.join(differing)}")
