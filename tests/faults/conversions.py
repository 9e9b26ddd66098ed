"""Runs whole conversions in process groups of their own and disturbs them; answers how each ended.

Requests and answers are lines of JSON. All conversions are forked from this one process, which has
loaded the model, so that a kill costs no new interpreter; their workers are forked likewise, and
their decoders are new processes as always.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit_rows import tree

from spire_dsu.convert import main
from spire_dsu.convert.job import Spec, Target
from spire_dsu.convert.local import Link, LocalEngine
from spire_dsu.convert.service import serve
from spire_dsu.convert.worker import Model, ShardWorker, load_model
from spire_dsu.types import Units
from spire_dsu.verify import verify

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_REMOUNT = 32


class Forked:
    """A forked process, with what of `subprocess.Popen` the engine needs."""

    def __init__(self, pid: int, stdin: int) -> None:
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork_worker(model: Model) -> Link:
    """Starts a worker without a new interpreter."""
    requests, requests_in = os.pipe()
    answers, answers_in = os.pipe()
    errors = tempfile.TemporaryFile()  # noqa: SIM115  (the link closes it)
    pid = os.fork()
    if pid == 0:
        os.dup2(errors.fileno(), 2)
        keep = {0, 1, 2, requests, answers_in}
        for fd in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if fd not in keep:
                with contextlib.suppress(OSError):
                    os.close(fd)
        serve(os.fdopen(requests, "rb"), answers_in, model)
    os.close(requests)
    os.close(answers_in)
    return Link(Forked(pid, requests_in), answers, errors)


def convert(model: Model, request: dict[str, Any]) -> int:
    """The conversion that is asked for, in this process; its exit status."""
    if request.get("hangs"):
        model = replace(model, encode=lambda _: time.sleep(1e6))
    if "memory_mb" in request:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + (request["memory_mb"] << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return main(
        manifest=request["manifest"],
        out=request["out"],
        rows_per_shard=request.get("rows_per_shard", 3),
        engine=lambda spec: LocalEngine(
            spec, request.get("workers", 2), launch=lambda: fork_worker(model)
        ),
        max_bad=1.0,
    )


def forked(work: Callable[[], int], log: int) -> int:
    """Forks a process group that does some work; its id."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd, source in ((0, null), (1, null), (2, log)):
            os.dup2(source, fd)
        try:
            os._exit(work())
        finally:
            os._exit(99)
    while os.getpgid(pid) != pid:  # it must have its group before it can be killed
        time.sleep(0.001)
    return pid


def disturbed(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    """A conversion that gets signals: [when, number, "group", "driver" or "worker"] each.

    When is seconds, {"shards": n} once so many are there, or {"file": pattern}.
    """
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        pid = forked(lambda: convert(model, request), log.fileno())
        status = None
        for when, number, whom in request.get("signals", []):
            while status is None and not _reached(when, started, Path(request["out"])):
                time.sleep(0.002)
                status = _ended(pid)
            if status is None:
                _signal(pid, number, whom)
        while status is None:
            time.sleep(0.002)
            status = _ended(pid)
        seconds = time.monotonic() - started
        left = _outlived(pid)
        log.seek(0)
        text = log.read().decode(errors="replace")
    return {"status": status, "seconds": seconds, "left": left, "text": text}


def _reached(when: Any, started: float, out: Path) -> bool:
    if not isinstance(when, dict):
        return time.monotonic() >= started + when
    files = list(out.glob(when.get("file", "units-*.parquet")))
    return len(files) >= when.get("shards", 1)


def _ended(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _signal(pid: int, number: int, whom: str) -> None:
    if whom == "group":
        os.killpg(pid, number)
    elif whom == "driver":
        os.kill(pid, number)
    else:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(random.choice(children)), number)


def _outlived(group: int) -> bool:
    """Whether any process of a group is left a while after its leader."""
    for _ in range(20_000):  # a decoder that has just been started first has to load its modules
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.005)
    os.killpg(group, signal.SIGKILL)
    return True


def full_disk(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    """Conversions on a disk of a few KB each, of which the last one is large enough."""

    def work() -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        out = request["out"].encode()
        flags = _NEW_MOUNTS if os.geteuid() == 0 else _NEW_MOUNTS | _NEW_USER
        if libc.unshare(flags) or libc.mount(None, b"/", None, 1 << 14 | 1 << 18, None):
            return _answer({"refused": os.strerror(ctypes.get_errno())})
        Path(request["out"]).mkdir()
        statuses, problems = [], []
        for turn, size in enumerate(request["sizes"]):
            how = _REMOUNT if turn else 0
            if libc.mount(b"tmpfs", out, b"tmpfs", how, f"size={size}k".encode()):
                return _answer({"refused": os.strerror(ctypes.get_errno())})
            statuses.append(convert(model, {**request, "out": request["out"] + "/inside"}))
            found = verify(request["out"] + "/inside")
            problems.append([p.file for p in found.problems if p.file.startswith("units")])
        files = tree(Path(request["out"]) / "inside")
        return _answer({"statuses": statuses, "problems": problems, "tree": files})

    def _answer(content: dict[str, Any]) -> int:
        answer.write(json.dumps(content).encode())
        answer.flush()
        return 0

    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as log:
        os.waitpid(forked(work, log.fileno()), 0)
        answer.seek(0)
        log.seek(0)
        return {**json.loads(answer.read() or b"{}"), "text": log.read().decode()}


def memory(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    """Resident bytes of a worker after each shard; its encoder only counts frames."""

    def count(waves: list[Any]) -> list[Units]:
        import numpy as np

        return [Units(np.zeros(1, np.int32), np.full(1, w.size // 320, np.int32)) for w in waves]

    def work() -> int:
        out = Path(request["out"])
        (out / "scratch").mkdir(parents=True)
        fingerprint = {"num_clusters": 1}
        spec = Spec(model="", device="", precision="", rows=request["rows"], rows_per_shard=400)
        worker = ShardWorker(spec, Model(count, fingerprint))
        target = {"folder": str(out), "scratch": str(out / "scratch"), "fingerprint": fingerprint}
        worker.begin(Target(**target))
        sizes = []
        for shard in range(request["shards"]):
            worker.feed.enqueue(shard)
            worker.make_next(0)
            sizes.append(worker.facts().memory)
        worker.feed.close()
        answer.write(json.dumps(sizes).encode())
        answer.flush()
        return 0

    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as log:
        os.waitpid(forked(work, log.fileno()), 0)
        answer.seek(0)
        log.seek(0)
        return {"sizes": json.loads(answer.read() or b"[]"), "text": log.read().decode()}


KINDS = {"disturbed": disturbed, "full disk": full_disk, "memory": memory}


def loop(folder: str) -> None:
    """Serves until standard input ends."""
    spec = Spec(model=folder, device="cpu", precision="exact", rows="", rows_per_shard=1)
    model = load_model(spec)
    for line in sys.stdin:
        request = json.loads(line)
        random.seed(request.get("seed"))
        print(json.dumps(KINDS[request["kind"]](model, request)), flush=True)  # noqa: T201


if __name__ == "__main__":
    loop(sys.argv[1])
