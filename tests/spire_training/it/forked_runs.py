"""Runs of `train it` in processes of their own, some killed, forked from one that has imported all.

    python forked_runs.py JOBS      JOBS: JSON, a list of {"config", "kill", "processes"}

`kill` is "PLACE:N": the process kills itself when it reaches the place for the N-th time. Prints
the exit statuses as JSON, a list per job.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import state

from spire_dsu.config import validate
from spire_training.it import checkpoints, run
from spire_training.it.config import ITConfig
from spire_training.it.trainer import PackedTrainer

PLACES: dict[str, tuple[Any, str]] = {
    "backward": (PackedTrainer, "step_tally"),  # the gradient is there, the weights are not moved
    "half a checkpoint": (checkpoints, "seal"),  # its files are there, none says that it is whole
    "two checkpoints": (checkpoints, "prune"),
    "before the model": (run, "write_model"),
}


def die_at(place: str, times: int) -> None:
    """Replaces a function by one that kills the process at its N-th call."""
    owner, name = PLACES[place]
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **named)

    setattr(owner, name, dying)


def shard_on_cpus() -> None:
    """Lets accelerate shard on CPUs, where FSDP2 works with gloo but accelerate only replicates."""
    real = state.PartialState.__init__

    def init(self: Any, *args: Any, **named: Any) -> None:
        real(self, *args, **named)
        if self.distributed_type == state.DistributedType.MULTI_CPU:
            self.distributed_type = state.DistributedType.MULTI_GPU

    state.PartialState.__init__ = init
    run._check_machine = lambda config, processes: None


def child(job: dict[str, Any], rank: int, port: int) -> int:
    """One process of a run; its exit status."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if job["processes"] > 1:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(job["processes"]),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
        if job["config"].get("parallel") == "fsdp":
            shard_on_cpus()
        if job["kill"]:
            place, times = job["kill"].rsplit(":", 1)
            die_at(place, int(times))
        run.train_it(validate(job["config"], ITConfig, "job"))
        status = 0
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        status = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Runs the jobs one after the other."""
    statuses = []
    for job in json.loads(Path(sys.argv[1]).read_text()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = [child(job, rank, port) for rank in range(job["processes"])]
        ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        statuses.append(ended)
    sys.stdout.write(json.dumps(statuses))


if __name__ == "__main__":
    main()
