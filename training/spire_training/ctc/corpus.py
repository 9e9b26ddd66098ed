"""Utterances with their texts, and the batches that are made of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spire_dsu.audio import read_audio
from spire_dsu.errors import AudioError, InputError
from spire_dsu.manifest import Manifest, RecordingReader, open_manifest
from spire_dsu.types import SAMPLING_RATE, Float32, Utterance
from spire_training.ctc.settings import CTCConfig

BLANK = 0
NO_LABEL = -100
SILENCE = np.zeros(SAMPLING_RATE, np.float32)


@dataclass(frozen=True, slots=True)
class Characters:
    """The output vocabulary: `BLANK`, then each character of the training texts.

    Attributes:
        known: the characters, in order; the first is token 1.
    """

    known: str

    @classmethod
    def of(cls, texts: Sequence[str]) -> Characters:
        """The characters of texts.

        Raises:
            InputError: there is none.
        """
        known = "".join(sorted(set("".join(texts))))
        if not known.strip():
            raise InputError("the training data has no text to learn characters from")
        return cls(known)

    def __len__(self) -> int:
        return len(self.known) + 1

    def encode(self, text: str) -> list[int]:
        """Tokens of a text; characters that the training data lacks are left out."""
        return [self.known.index(c) + 1 for c in text if c in self.known]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the best token of each frame: runs merged, blanks out."""
        merged = [t for at, t in enumerate(tokens) if at == 0 or t != tokens[at - 1]]
        text = "".join(self.known[token - 1] for token in merged if token > BLANK)
        return " ".join(text.split())


class Corpus:
    """A manifest's utterances, in its order.

    Args:
        manifest: as `open_manifest` takes it.
        config: the run.
        with_text: utterances without text are left out.

    Attributes:
        texts: of the utterances that are used.
        ids: of the same.
        counts: how many there are, and why others are left out.
    """

    def __init__(self, manifest: str, config: CTCConfig, *, with_text: bool = True) -> None:
        self.name = manifest
        self._rows: Manifest = open_manifest(manifest)
        self._limit = config.max_seconds
        self._places: list[int] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.counts: Counter[str] = Counter()
        for place, utterance in enumerate(self._rows):
            text = normalise(utterance.text or "", config.lowercase)
            if utterance.problem is not None:
                self.counts[f"dropped: {utterance.problem[0]}"] += 1
            elif with_text and not text:
                self.counts["dropped: no text"] += 1
            elif (utterance.duration or utterance.expected or 0.0) > self._limit:
                self.counts["dropped: too long"] += 1
            else:
                self._places.append(place)
                self.texts.append(text)
                self.ids.append(utterance.id)
        self.counts["used"] = len(self.ids)
        if not self.ids:
            raise InputError(f"{manifest}: no utterance to use: {dict(self.counts)}")

    def __len__(self) -> int:
        return len(self.ids)

    def digest(self) -> str:
        """SHA-256 over ids and texts, in order."""
        made = hashlib.sha256()
        for name, text in zip(self.ids, self.texts, strict=True):
            made.update(f"{name}\0{text}\n".encode("utf-8", "surrogatepass"))
        return made.hexdigest()

    def wave(self, index: int) -> Float32:
        """float32 [S] at 16 kHz.

        Raises:
            AudioError: it cannot be decoded, or is too long.
        """
        place = self._places[index]
        utterance: Utterance = next(iter(self._rows.rows(place, place + 1)))
        with RecordingReader() as reader:
            return read_audio(
                reader.read(utterance.audio),
                offset=utterance.offset,
                duration=utterance.duration,
                max_seconds=self._limit,
                channel="mean" if utterance.channel is None else utterance.channel,
            )


class Waves(torch.utils.data.Dataset[dict[str, Any]]):
    """Normalised waveforms with their labels.

    Audio that cannot be decoded becomes a second of silence without a label, so that batches and
    evaluations keep their size; it is written down in `skipped`.
    """

    def __init__(
        self, corpus: Corpus, characters: Characters, eps: float | None, skipped: Path
    ) -> None:
        self._corpus, self._characters, self._eps = corpus, characters, eps
        self._skipped = skipped

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, index: int) -> dict[str, Any]:
        text = self._corpus.texts[index]
        try:
            wave = self._corpus.wave(index)
            if wave.size < SILENCE.size // 4:
                wave = np.pad(wave, (0, SILENCE.size // 4 - wave.size))
        except AudioError as error:
            wave, text = SILENCE, ""
            with self._skipped.open("a", encoding="utf-8") as file:
                row = {"id": self._corpus.ids[index], "reason": str(error.reason)}
                file.write(json.dumps(row) + "\n")
        return {"inputs": scaled(wave, self._eps), "labels": self._characters.encode(text)}


def scaled(wave_S: Float32, eps: float | None) -> Float32:
    """The waveform with zero mean and unit variance; None leaves it as it is."""
    if eps is None:
        return wave_S
    mean = wave_S.mean(dtype=np.float64)
    deviation = np.sqrt(wave_S.var(dtype=np.float64) + eps)
    return np.asarray((wave_S - mean) / deviation, np.float32)


def normalise(text: str, lowercase: bool) -> str:
    """One space between words, none around; in lower case if so wished."""
    one = " ".join(text.split())
    return one.lower() if lowercase else one


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pads a batch.

    Returns:
        inputs float32 [N, S] (or features [N, T, D]), lengths int64 [N], labels int64 [N, L] with
        `NO_LABEL` behind each one's last.
    """
    pad = torch.nn.utils.rnn.pad_sequence
    inputs = [torch.from_numpy(np.asarray(row["inputs"], np.float32)) for row in rows]
    labels = [torch.tensor(row["labels"], dtype=torch.long) for row in rows]
    return {
        "inputs": pad(inputs, batch_first=True),
        "lengths": torch.tensor([len(each) for each in inputs]),
        "labels": pad(labels, batch_first=True, padding_value=NO_LABEL),
    }
