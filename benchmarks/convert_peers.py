"""What `bench_convert` compares with, each in a process of its own, as a worker of `convert` is.

    python benchmarks/convert_peers.py alone MODEL FILES...
    python benchmarks/convert_peers.py plain MODEL FILES...

"alone" is our encoder and codebook, on samples that are in memory already. "plain" is the script
that one would write: transformers' HubertModel cut to the layer, a DataLoader whose process reads
with soundfile, scikit-learn's KMeans, a JSON line per file. One thread. Prints one JSON object:
seconds since the model was loaded, and CPU time, at the end of each file; the unit of each frame.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster
import soundfile
import torch
from bench_encode import Transformers, merge
from torch.utils.data import DataLoader, Dataset
from transformers import HubertModel

from spire_dsu.codebook import load_codebook
from spire_dsu.convert.job import Spec
from spire_dsu.convert.worker import load_model
from spire_dsu.types import Float32, Units

Encode = Callable[[], Iterator[Units]]


class Files(Dataset[Any]):
    """Recordings as the plain script reads them."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, Float32]:
        return self.paths[index], soundfile.read(self.paths[index], dtype="float32")[0]


def first(batch: list[Any]) -> Any:
    """A batch of one, as it is."""
    return batch[0]


def plain(folder: Path, paths: list[str]) -> Encode:
    """Features of one file at a time, scikit-learn's labels, runs merged, a line of JSON."""
    config = json.loads((folder / "config.json").read_text())
    loaded = HubertModel.from_pretrained(folder / "encoder", dtype=torch.float32).eval()
    loaded.encoder.layers = loaded.encoder.layers[: config["layer"]]
    loaded.encoder.layer_norm = torch.nn.Identity()
    centroids = load_codebook(folder / "codebook.safetensors").centroids
    model = Transformers(loaded, centroids, torch.float32)
    means = sklearn.cluster.KMeans(len(centroids), n_init=1, max_iter=1)
    means.cluster_centers_, means._n_threads = centroids, 1

    def run() -> Iterator[Units]:
        loader = DataLoader(Files(paths), batch_size=1, num_workers=1, collate_fn=first)
        with tempfile.TemporaryFile("w") as file:
            for name, wave in loader:
                units = merge(means.predict(model.features([wave])[0].numpy()))
                row = {"id": name, "units": units.ids.tolist()}
                file.write(json.dumps(row | {"durations": units.durations.tolist()}) + "\n")
                yield units

    return run


def alone(folder: Path, paths: list[str]) -> Encode:
    """What a worker calls, as it calls it."""
    spec = Spec(model=str(folder), device="cpu", precision="exact", rows="", rows_per_shard=1)
    model = load_model(spec)
    waves = [soundfile.read(path, dtype="float32")[0] for path in paths]
    return lambda: (model.encode([wave])[0] for wave in waves)


def main() -> None:
    kind, folder, *paths = sys.argv[1:]
    torch.set_num_threads(1)
    run = {"alone": alone, "plain": plain}[kind](Path(folder), paths)
    started = time.perf_counter()
    ends, cpu, frames = [], [], []
    for units in run():
        ends.append(time.perf_counter() - started)
        cpu.append(time.process_time())
        frames.append(units.to_frames())
    print(json.dumps({"ends": ends, "cpu": cpu, "frames": np.concatenate(frames).tolist()}))


if __name__ == "__main__":
    main()
