"""Features of an encoder that is not trained: computed once, then read from disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spire_dsu.errors import AudioError
from spire_dsu.features import Encoder
from spire_dsu.files import write_atomically
from spire_dsu.storage import AtomicFile
from spire_dsu.types import Float32
from spire_training.ctc.corpus import SILENCE, Characters, Corpus


class Frozen(torch.utils.data.Dataset[dict[str, Any]]):
    """Features with their labels.

    The features of utterance i are rows [splits[i], splits[i + 1]) of a float16 file; rounding
    them is well below what dropout does to them.

    Args:
        corpus: the utterances.
        characters: of the labels.
        encoder: makes the features, unless the files hold those of the same corpus and encoder.
        path: of the files, without suffix.
    """

    def __init__(
        self, corpus: Corpus, characters: Characters, encoder: Encoder, path: Path
    ) -> None:
        self._corpus, self._characters = corpus, characters
        identity = _identity(corpus, encoder)
        index = path.with_suffix(".json")
        known = json.loads(index.read_text()) if index.is_file() else {}
        if known.get("identity") != identity:
            known = {"identity": identity, **_compute(corpus, encoder, path.with_suffix(".bin"))}
            write_atomically(index, json.dumps(known).encode())
        self.failed = set(known["failed"])
        self._splits = known["splits"]
        self._features = np.memmap(
            path.with_suffix(".bin"), np.float16, "r", shape=(self._splits[-1], encoder.dim)
        )

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rows = slice(self._splits[index], self._splits[index + 1])
        text = "" if self._corpus.ids[index] in self.failed else self._corpus.texts[index]
        return {
            "inputs": self._features[rows].astype(np.float32),
            "labels": self._characters.encode(text),
        }


def features(corpus: Corpus, encoder: Encoder, index: int) -> tuple[Float32, bool]:
    """float32 [T, D] of one utterance, and whether it could be decoded; silence otherwise."""
    try:
        wave, good = corpus.wave(index), True
    except AudioError:
        wave, good = SILENCE, False
    if encoder.num_frames(wave.size) < 1:
        wave, good = SILENCE, False
    return encoder(wave).float().cpu().numpy(), good


def _compute(corpus: Corpus, encoder: Encoder, path: Path) -> dict[str, Any]:
    splits, failed = [0], []
    path.parent.mkdir(parents=True, exist_ok=True)
    with AtomicFile(path) as file:
        for index, name in enumerate(corpus.ids):
            made_TD, good = features(corpus, encoder, index)
            if not good:
                failed.append(name)
            splits.append(splits[-1] + len(made_TD))
            file.write(made_TD.astype(np.float16))
    return {"splits": splits, "failed": failed}


def _identity(corpus: Corpus, encoder: Encoder) -> str:
    about = [encoder.digest, encoder.layer, encoder.normalize_eps, corpus.name, *corpus.ids]
    return hashlib.sha256("\n".join(map(str, about)).encode()).hexdigest()
