"""The smallest corpus and encoder that a codebook can be fitted to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audio_makers import encode
from convert_makers import make_model, sound

SETTINGS: dict[str, Any] = {"layer": 2, "clusters": 8, "device": "cpu", "heldout": 0.1}


def make_corpus(folder: Path, rows: int = 24, speakers: int = 3) -> Path:
    """Recordings of a quarter to one second, and corpus.jsonl that lists them with speakers."""
    folder.mkdir(parents=True)
    lines = []
    for k in range(rows):
        name = f"r{k:03}.{'flac' if k % 3 else 'wav'}"
        (folder / name).write_bytes(
            encode(sound(k, 0.25 + k % 4 / 4), name[-4:].strip(".").upper())
        )
        row = {"id": f"utt-{k}", "audio_filepath": name, "duration": 0.25 + k % 4 / 4}
        lines.append(json.dumps({**row, "speaker": f"spk-{k % speakers}"}))
    path = folder / "corpus.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def make_encoder(folder: Path) -> Path:
    """A Hugging Face folder with random weights, two layers of 32 values."""
    make_model(folder / "tiny")
    return folder / "encoder-of-tiny"
