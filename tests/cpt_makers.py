"""Tiny runs of continued pre-training, each in processes of its own, for tests.

Megatron-core's process groups and what makes it run on a CPU are for a whole process, so a test
never enters them itself. The processes are forked from one that has imported everything, which
costs each of them milliseconds instead of the ten seconds of the imports.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_llm import tiny_llama

from spire_dsu.config import validate
from spire_training.cpt.config import CptConfig
from spire_training.data.packed import LEARNED, SPLITS, START, RowWriter, write_manifest

LENGTH = 48
UNITS = 20
_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(["cpt_inside"])


def base(folder: Path, **kwargs: Any) -> Path:
    """A tiny Llama with unit tokens, as a Hugging Face folder."""
    return tiny_llama(folder, units=UNITS, chat=False, **kwargs)


def packed(
    folder: Path,
    num_tokens: int,
    rows: int = 48,
    held: int = 4,
    seed: int = 0,
    *,
    units_alone: bool = False,
) -> Path:
    """A packed folder of documents that can be learned: each counts up in steps of three.

    With `units_alone`, each second row has nothing but units.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    files: dict[str, Any] = {}
    for split in SPLITS:
        with RowWriter(folder, split, LENGTH, num_tokens) as writer:
            for row in range(rows if split == "train" else held):
                writer.write(*_row(rng, num_tokens, units_alone=units_alone and row % 2 == 0))
        files |= writer.facts()
    about = {"sequence_length": LENGTH, "rows": {"train": rows, "held": held}}
    vocabulary = {"num_tokens": num_tokens}
    write_manifest(folder, {**about, "vocabulary": vocabulary, "files": files})
    return folder


def _row(
    rng: np.random.Generator, num_tokens: int, *, units_alone: bool = False
) -> tuple[Any, Any]:
    tokens, marks = np.zeros(LENGTH, np.int32), np.zeros(LENGTH, np.uint8)
    at = 0
    while at < LENGTH - int(rng.integers(4, 9)):
        size = min(int(rng.integers(3, 20)), LENGTH - at)
        kind = 1 if units_alone else int(rng.integers(1, 5))
        first = num_tokens - UNITS if kind == 1 else 270 + 10 * kind
        tokens[at : at + size] = first + (int(rng.integers(UNITS)) + 3 * np.arange(size)) % UNITS
        marks[at : at + size] = LEARNED | kind
        marks[at] = START | kind
        at += size
    return tokens, marks


def config(folder: Path, out: str, **changes: Any) -> CptConfig:
    """A run of 12 updates of 8 rows on folder/base and folder/data; nested keys replace whole."""
    plain: dict[str, Any] = {
        "model": str(folder / "base"),
        "data": str(folder / "data"),
        "out": str(folder / out),
        "steps": 12,
        "precision": "fp32",
        "batch": {"sequences": 8, "micro": 2},
        "optimizer": {"lr": 3e-3, "min_lr": 1e-4, "warmup_steps": 2},
        "checkpoint": {"every": 3},
        "log": {"held_every": 0, "tensorboard": False},
    }
    return validate({**plain, **changes}, CptConfig, out)


def start(
    function: Callable[..., Any], *arguments: Any, world: int = 1
) -> tuple[list[Any], Callable[[], list[Any]]]:
    """Starts a function of `cpt_inside` in `world` processes that meet in a file.

    Returns:
        The processes, and a function that waits for them and returns what each returned; where one
        raised, it returns the exception.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Before Python 3.12 the server of forks does not get this process' path, and without it
        # imports nothing ahead.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        forkserver.ensure_running()
    meeting = tempfile.mkdtemp(prefix="cpt-test-")
    queue = _START.SimpleQueue()
    processes = []
    for rank in range(world):
        everything = (function, arguments, rank, world, f"{meeting}/store", queue)
        process = _START.Process(target=_enter, args=everything)
        process.start()
        processes.append(process)

    def wait() -> list[Any]:
        found: dict[int, Any] = {}
        while any(process.is_alive() for process in processes) or not queue.empty():
            if queue.empty():
                time.sleep(0.002)
                continue
            rank, result = queue.get()
            found[rank] = result
        for process in processes:
            process.join()
        return [found.get(rank) for rank in range(world)]

    return processes, wait


def run(function: Callable[..., Any], *arguments: Any, world: int = 1) -> Any:
    """Runs a function of `cpt_inside` in `world` processes; what the first of them returned.

    Raises:
        AssertionError: a process failed, with its traceback.
    """
    results = start(function, *arguments, world=world)[1]()
    for result in results:
        assert result is not None, "a process died"
        assert not isinstance(result, str), result
    return results[0][0]


def _enter(
    function: Callable[..., Any], arguments: Any, rank: int, world: int, store: str, queue: Any
) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        from torch import distributed

        result = function(*arguments, distributed.FileStore(store, world) if world > 1 else None)
        queue.put((rank, (result,)))
    except Exception:
        queue.put((rank, traceback.format_exc()))


def curve(folder: Path) -> list[dict[str, str]]:
    """The log of a run, without what is measured with a clock."""
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows]


def weights(folder: Path) -> dict[str, Any]:
    """All weights of a Hugging Face folder, as numpy arrays by name."""
    from safetensors.numpy import load_file

    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found
