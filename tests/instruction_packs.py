"""Packed folders of spoken and written instructions, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from spire_dsu.llm import prompts
from spire_dsu.llm.rendering import Renderer
from spire_dsu.llm.vocabulary import UnitVocabulary
from spire_training.data.packed import (
    ANSWER,
    LEARNED,
    PROMPT,
    START,
    UNITS,
    RowWriter,
    write_manifest,
)

WORDS = ["hello", "world", "this", "is", "a", "test", "quick", "brown", "fox"]


def documents(model: Path, count: int, seed: int = 0) -> list[tuple[Any, Any]]:
    """Ids and marks of instructions in which unit i means word i."""
    renderer = Renderer(AutoTokenizer.from_pretrained(model), layout="chatml")
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        words = rng.choice(len(WORDS), size=3, replace=False)
        text = " ".join(WORDS[word] for word in words)
        asked = prompts.multi_turn_translation(text, "de", text) if index % 3 else prompts.asr(text)
        example = renderer.example(asked, words)
        kinds = np.where(renderer.vocabulary.is_unit(example.ids), UNITS, PROMPT)
        marks = np.where(example.learned, ANSWER | LEARNED, kinds).astype(np.uint8)
        marks[0] |= START
        made.append((example.ids, marks))
    return made


def pack(
    folder: Path,
    model: Path,
    *,
    rows: int = 16,
    held: int = 3,
    length: int = 128,
    stage: str = "it",
) -> Path:
    """Writes a packed folder; documents one behind the other, padding behind."""
    folder.mkdir(parents=True)
    units = UnitVocabulary.of(AutoTokenizer.from_pretrained(model))
    tokens = units.num_tokens
    files = {}
    stock = iter(documents(model, (rows + held) * 12))
    for split, count in (("train", rows), ("held", held)):
        with RowWriter(folder, split, length, tokens) as writer:
            for _ in range(count):
                ids, marks = np.zeros(length, np.int32), np.zeros(length, np.uint8)
                used = 0
                for document, mark in stock:
                    if used + document.size > length:
                        break
                    ids[used : used + document.size] = document
                    marks[used : used + document.size] = mark
                    used += document.size
                writer.write(ids, marks)
        files.update(writer.facts())
    content = {
        "stage": stage,
        "sequence_length": length,
        "rows": {"train": rows, "held": held},
        "vocabulary": {
            "first_unit_token": units.first_unit_token,
            "num_units": units.num_units,
            "num_tokens": tokens,
        },
        "files": files,
    }
    write_manifest(folder, content)
    return folder
