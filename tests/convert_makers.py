"""The smallest conversion there is: a tiny model, short recordings, and an engine of threads."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audio_makers import encode, voice
from rich.console import Console
from safetensors.torch import save_file
from unit_rows import tree

from spire_dsu.convert import Interrupted, Summary, convert
from spire_dsu.convert.engine import Engine
from spire_dsu.convert.job import Done, Event, Facts, Spec
from spire_dsu.convert.service import Service
from spire_dsu.convert.worker import Model, load_model
from spire_dsu.discretizer import Discretizer
from spire_dsu.hubert.architecture import read_architecture
from spire_dsu.hubert.checkpoint import tensor_shapes
from spire_dsu.shards import open_shards
from spire_dsu.types import UnitRow
from spire_dsu.verify import verify

SHAPE = {
    "model_type": "hubert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [32] * 7,
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def make_model(folder: Path, clusters: int = 60) -> Path:
    """A model folder: random weights, and centroids among its own features."""
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, shape in tensor_shapes(read_architecture(SHAPE, "tiny"), 2).items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 0
        tensors[name] = torch.randn(shape, generator=generator) * (fan_in or 1) ** -0.5
        if "norm" in name:
            tensors[name] = torch.full(shape, float(name.endswith("weight")))
    encoder = folder.with_name("encoder-of-" + folder.name)
    encoder.mkdir()
    (encoder / "config.json").write_text(json.dumps(SHAPE))
    save_file(tensors, encoder / "model.safetensors")
    some = Discretizer.from_parts(encoder, np.zeros((1, 32), np.float32), layer=2)
    features = np.concatenate([some.features(sound(k, 2.0)) for k in range(8)])
    chosen = np.random.default_rng(0).choice(len(features), clusters, replace=False)
    whole = Discretizer.from_parts(encoder, features[np.sort(chosen)], layer=2)
    return whole.save_pretrained(folder)


def sound(number: int, seconds: float) -> np.ndarray:
    """float32 [S]: noise that changes its colour, and a voice; another one for each number."""
    rng = np.random.default_rng(number)
    noise = np.cumsum(rng.standard_normal(round(seconds * 16_000)))
    noise = noise - np.convolve(noise, np.ones(50 + 10 * (number % 7)) / 50, "same")
    return (0.3 * voice(seconds) + 0.02 * noise / np.abs(noise).max()).astype(np.float32)


def make_recordings(folder: Path, count: int) -> Path:
    """Recordings of a quarter to one second, WAV and FLAC."""
    folder.mkdir()
    for k in range(count):
        kind = "FLAC" if k % 3 else "WAV"
        (folder / f"r{k:03}.{kind.lower()}").write_bytes(encode(sound(k, 0.25 + k % 4 / 4), kind))
    return folder


class ThreadEngine(Engine):
    """Workers as threads of this process."""

    def __init__(self, spec: Spec, workers: int | None = None, model: Model | None = None) -> None:
        super().__init__(spec, workers)
        self._model = model or load_model(spec)
        self._services: dict[int, tuple[Service, threading.Thread]] = {}
        self._queue: queue.SimpleQueue[tuple[Service, dict[str, Any]]] = queue.SimpleQueue()
        self.stop_after: int | None = None

    def run(self, *arguments: Any) -> Iterator[Event]:
        """As any engine; after so many shards it is interrupted."""
        done = 0
        for event in super().run(*arguments):
            yield event
            done += isinstance(event, Done)
            if done == self.stop_after:
                raise Interrupted("enough")

    def _launch(self, worker: int, spec: Spec) -> None:
        service = Service(lambda answer: self._queue.put((service, answer)), self._model)
        thread = threading.Thread(
            target=service.run, args=(worker, spec.model_dump(mode="json")), daemon=True
        )
        self._services[worker] = (service, thread)
        thread.start()

    def _end(self, worker: int) -> str:
        service, thread = self._services.pop(worker)
        service.stop()
        thread.join()
        return "was ended"

    def _send(self, worker: int, request: dict[str, Any]) -> None:
        self._services[worker][0].handle(request)

    def _answers(self) -> list[tuple[int, dict[str, Any] | None]]:
        try:
            found = [self._queue.get(timeout=0.1)]
        except queue.Empty:
            return []
        numbers = {service: worker for worker, (service, _) in self._services.items()}
        return [
            (numbers[service], json.loads(json.dumps(answer)))
            for service, answer in found
            if service in numbers
        ]

    def _room(self, facts: Facts) -> int:
        return 2


def run(
    manifest: object,
    out: Path,
    model: Path,
    *,
    workers: int = 1,
    loaded: Model | None = None,
    rows_per_shard: int = 4,
    console: Console | None = None,
    stop_after: int | None = None,
    **options: Any,
) -> Summary:
    """A conversion in this process; interrupted after some shards where that is wanted."""

    def launch(spec: Spec) -> ThreadEngine:
        engine = ThreadEngine(spec, workers, loaded)
        engine.stop_after = stop_after
        return engine

    return convert(
        manifest,
        out,
        model=model,
        engine=launch,
        rows_per_shard=rows_per_shard,
        console=console,
        **options,
    )


def rows_of(out: Path) -> list[UnitRow]:
    """The rows of a finished conversion, which must be whole and leave nothing else behind."""
    found = verify(out)
    assert found.ok, found.problems
    assert not [name for name in tree(out) if name.startswith(".") or "journal" in name]
    return list(open_shards(out))
