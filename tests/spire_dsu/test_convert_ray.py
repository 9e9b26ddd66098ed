"""The same shards from a Ray cluster of two nodes, one of whose actors is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from convert_makers import make_model, make_recordings, rows_of, run
from unit_rows import tree

from spire_dsu.convert import convert
from spire_dsu.errors import SpireError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'spire-dsu[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each on this machine; this process has joined them."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.add_node(**small)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_cluster_makes_the_same_bytes_though_an_actor_dies(cluster: Any, tmp_path: Path) -> None:
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
    options = {"rows_per_shard": 2, "device": "cpu"}
    summary = convert(recordings, tmp_path / "out", model=model, engine=Killing, **options)
    assert summary.finished
    assert Killing.killed
    assert len(rows_of(tmp_path / "out")) == 15
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    with pytest.raises(SpireError, match="unknown model 'nix'"):
        convert(recordings, tmp_path / "other", model="nix", engine="ray", device="cpu")
