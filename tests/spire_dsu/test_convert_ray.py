"""The same shards from a Ray cluster of two nodes, one of whose actors is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from convert_makers import make_model, make_recordings, rows_of, run
from unit_rows import MULTIPLIER, tree

from spire_dsu.convert import Interrupted, convert
from spire_dsu.errors import SpireError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'spire-dsu[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each on this machine; this process has joined them."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    for tries_left in (3, 2, 1, 0):
        made = Cluster()
        try:
            made.add_node(**small, include_dashboard=False)
            made.add_node(**small)
            break
        except Exception:  # Ray waits for 30 s, which are not many for a busy machine
            made.shutdown()
            if not tries_left:
                raise
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def killed_driver(recordings: Path, out: Path, model: Path, address: str) -> int:
    """A conversion on the cluster whose driver is killed once it has committed a shard; its end."""
    command = [sys.executable, "-m", "spire_dsu.cli", "convert", recordings, out]
    command += ["--model", model, "--device", "cpu", "--engine", "ray", "--rows-per-shard", "2"]
    env = {**os.environ, "RAY_ADDRESS": address, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as driver:
        while driver.poll() is None:
            if any(path.read_bytes().count(b"\n") > 1 for path in out.glob("journal-*")):
                driver.kill()
            time.sleep(0.01)
    return driver.returncode


def test_drivers_actors_and_processes_die_and_the_bytes_are_the_same(
    cluster: Any, tmp_path: Path
) -> None:
    """The driver of a cluster is killed, then a local conversion goes on and is stopped, then a
    cluster finishes, one of whose actors is killed."""
    from spire_dsu.convert.cluster import RayEngine

    class Killing(RayEngine):
        """Kills the actor that has finished the first shard."""

        killed: ClassVar[list[int]] = []

        def _answers(self) -> list[tuple[int, dict[str, Any] | None]]:
            found = super()._answers()
            done = [worker for worker, answer in found if answer and "done" in answer]
            if done and not self.killed:
                self.killed.append(done[0])
                ray.kill(self._actors[done[0]])
            return found

    model = make_model(tmp_path / "tiny")
    recordings = make_recordings(tmp_path / "audio", 14)
    (recordings / "bad.wav").write_bytes(b"<html>")
    run(recordings, tmp_path / "whole", model, rows_per_shard=2)
    assert sum(node["Alive"] for node in ray.nodes()) == 2
    for turn in range(MULTIPLIER):
        out = tmp_path / f"out-{turn}"
        assert killed_driver(recordings, out, model, cluster.address) == -signal.SIGKILL
        with pytest.raises(Interrupted):
            run(recordings, out, model, rows_per_shard=2, stop_after=2)
        Killing.killed.clear()
        options = {"rows_per_shard": 2, "device": "cpu"}
        summary = convert(recordings, out, model=model, engine=Killing, **options)
        assert summary.finished
        assert 0 < summary.new.rows < 15
        assert Killing.killed
        assert len(rows_of(out)) == 15
        assert tree(out) == tree(tmp_path / "whole")
    with pytest.raises(SpireError, match="unknown model 'nix'"):
        convert(recordings, tmp_path / "other", model="nix", engine="ray", device="cpu")
