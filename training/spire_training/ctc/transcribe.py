"""A trained model as a folder, and what it hears."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from spire_dsu.config import Config, load_json, write_resolved
from spire_dsu.errors import ModelError
from spire_dsu.features import Encoder
from spire_dsu.files import write_atomically
from spire_dsu.presets import available_presets, encoder_folder, resolve
from spire_training.ctc.corpus import Characters, Corpus, Waves, collate
from spire_training.ctc.frozen import features
from spire_training.ctc.model import CTCModel
from spire_training.ctc.settings import CTCConfig

HEAD, CONFIG, ENCODER = "head.safetensors", "config.json", "encoder"


class CTCFolder(Config):
    """`config.json` of a trained model.

    Attributes:
        characters: the output vocabulary, without the blank.
        width, hidden_size, hidden_layers: of the head.
        frozen: the encoder that made the features, if it was not trained: then it is not in the
            folder, and `layer` says whose output they are.
        normalize_eps: of the waveform's normalisation; null for none.
    """

    format: str = "spire-ctc"
    characters: str
    width: int
    hidden_size: int
    hidden_layers: int
    frozen: str = ""
    layer: int = 0
    normalize_eps: float | None


@dataclass(frozen=True, slots=True)
class Source:
    """Where an encoder is.

    Attributes:
        folder: Hugging Face folder.
        layer: whose output frozen features are.
        eps: of the waveform's normalisation; None for none.
    """

    folder: Path
    layer: int
    eps: float | None


def source_of(config: CTCConfig) -> Source:
    """Finds the encoder that a run names.

    Raises:
        ModelError: there is none.
    """
    own = Path(config.encoder) / "config.json"
    if config.encoder in available_presets() or (
        own.is_file() and json.loads(own.read_bytes()).get("format") == "spire-dsu-model"
    ):
        found = resolve(config.encoder)
        return Source(found.encoder_folder(), found.config.layer, found.config.normalize_eps)
    folder = encoder_folder(config.encoder)
    layers = json.loads((folder / "config.json").read_bytes()).get("num_hidden_layers")
    if not isinstance(layers, int):
        raise ModelError(f"{folder}: config.json has no num_hidden_layers")
    return Source(folder, layers, config.normalize_eps)


def save(model: CTCModel, about: CTCFolder, folder: Path) -> None:
    """Writes a model; the folder counts once `config.json` is there, which is last."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous().cpu() for name, value in model.head.state_dict().items()}
    save_file(weights, folder / HEAD)
    if model.encoder is not None:
        model.encoder.save_pretrained(folder / ENCODER)
    write_resolved(about, folder / CONFIG)


class Transcriber:
    """A trained model, ready to transcribe.

    Args:
        folder: as `save` wrote it.
        device: "cpu", or "auto" for a GPU where there is one.

    Raises:
        ModelError: the encoder that it was trained on top of is not there.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        self._about = load_json(folder / CONFIG, CTCFolder)
        self._characters = Characters(self._about.characters)
        on_gpu = device == "auto" and torch.cuda.is_available()
        self._device = torch.device("cuda" if on_gpu else "cpu")
        self._encoder: Encoder | None = None
        trained: Any = None
        if self._about.frozen:
            self._encoder = Encoder.from_pretrained(
                self._about.frozen,
                layer=self._about.layer,
                normalize_eps=self._about.normalize_eps,
                device=str(self._device),
            )
        else:
            from transformers import HubertModel

            trained = HubertModel.from_pretrained(folder / ENCODER, dtype=torch.float32)
        self._model = CTCModel(
            trained,
            width=self._about.width,
            hidden_size=self._about.hidden_size,
            hidden_layers=self._about.hidden_layers,
            dropout=0.0,
            tokens=len(self._characters),
        )
        self._model.head.load_state_dict(load_file(folder / HEAD))
        self._model.to(self._device).eval()

    def corpus(self, corpus: Corpus, skipped: Path) -> list[str]:
        """The text of each utterance, one at a time: none depends on another's length."""
        waves = Waves(corpus, self._characters, self._about.normalize_eps, skipped)
        texts = []
        for index in range(len(corpus)):
            if self._encoder is None:
                row = waves[index]
            else:
                row = {"inputs": features(corpus, self._encoder, index)[0], "labels": []}
            batch = {name: value.to(self._device) for name, value in collate([row]).items()}
            with torch.no_grad():
                logits = self._model(batch["inputs"], batch["lengths"])["logits"]
            texts.append(self._characters.decode(logits[0].argmax(-1).tolist()))
        return texts


def write_hypotheses(folder: Path, config: CTCConfig, out: Path) -> list[Path]:
    """Transcribes the manifests of `test` that have no file yet, as JSON lines {"id", "text"}.

    Raises:
        ModelError: two manifests would get the same file.
    """
    files = [out / f"{_slug(manifest)}.jsonl" for manifest in config.test]
    if len(set(files)) != len(files):
        raise ModelError(f"test: two manifests of one name among {list(config.test)}")
    transcriber: Transcriber | None = None
    for manifest, path in zip(config.test, files, strict=True):
        if path.is_file():
            continue
        transcriber = transcriber or Transcriber(folder, config.device)
        corpus = Corpus(manifest, config, with_text=False)
        texts = transcriber.corpus(corpus, Path(config.out) / "skipped.jsonl")
        rows = zip(corpus.ids, texts, strict=True)
        write_atomically(
            path,
            (
                json.dumps({"id": name, "text": text}, ensure_ascii=False).encode() + b"\n"
                for name, text in rows
            ),
        )
    return files


def _slug(manifest: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(manifest).stem)
