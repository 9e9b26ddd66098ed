"""Small shards, texts and a tokenizer, and the configurations that make packed folders of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny_llm import tiny_tokenizer
from unit_rows import convert, row_of_frames

from spire_dsu.config import validate
from spire_training.data.settings import PrepareConfig

UNITS = 50
WORDS = [
    "hello",
    "world",
    "this",
    "is",
    "a",
    "test",
    "of",
    "the",
    "tiny",
    "tokenizer",
    "quick",
    "brown",
    "fox",
    "jumps",
]


def words(rng: np.random.Generator, low: int = 3, high: int = 12) -> str:
    return " ".join(rng.choice(WORDS, int(rng.integers(low, high))))


def make_shards(folder: Path, rows: int = 60, seed: int = 0, **fingerprint: object) -> Path:
    """A finished conversion of speech with transcripts."""
    rng = np.random.default_rng(seed)
    made = [
        row_of_frames(
            rng.integers(0, UNITS, int(rng.integers(20, 60))),
            id=f"utt-{seed}-{number}",
            text=words(rng),
            lang="en",
            speaker=f"s{number % 7}",
            source=f"{number}.flac",
        )
        for number in range(rows)
    ]
    convert(folder, made, fingerprint={"num_clusters": UNITS, "model": "tiny", **fingerprint})
    return folder


def make_tokenizer(folder: Path, units: int = UNITS, form: str = "extra_id") -> Path:
    tokenizer = tiny_tokenizer(units, form)
    tokenizer.save_pretrained(folder)
    return folder


def write_lines(path: Path, lines: list[Any]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def make_inputs(folder: Path) -> dict[str, Path]:
    """Shards, translations, pairs, running text and instructions."""
    rng = np.random.default_rng(1)
    shards = make_shards(folder / "shards")
    return {
        "tokenizer": make_tokenizer(folder / "tokenizer"),
        "shards": shards,
        "translations": write_lines(
            folder / "st.jsonl",
            [
                {"id": f"utt-0-{n}", "lang": lang, "text": f"{lang} {words(rng)}"}
                for n in range(0, 60, 2)
                for lang in ("de", "fr")
            ],
        ),
        "pairs": write_lines(
            folder / "pairs.tsv", [f"{words(rng)}\t{words(rng)}" for _ in range(80)]
        ),
        "more_pairs": write_lines(
            folder / "pairs.jsonl", [{"en": words(rng), "fr": words(rng)} for _ in range(20)]
        ),
        "text": write_lines(folder / "text.txt", [words(rng, 5, 90) for _ in range(60)]),
        "instructions": write_lines(
            folder / "blocks.jsonl",
            [
                {
                    "conversations": [
                        {"from": "human", "value": words(rng)},
                        {"from": "gpt", "value": words(rng)},
                    ]
                    * int(rng.integers(1, 3)),
                    "split": "train" if number % 5 else "dev",
                }
                for number in range(40)
            ],
        ),
    }


def cpt_settings(inputs: dict[str, Path], out: Path, **changes: Any) -> dict[str, Any]:
    return {
        "stage": "cpt",
        "tokenizer": str(inputs["tokenizer"]),
        "out": str(out),
        "sequence_length": 128,
        "held_out": 0.1,
        "buckets": 5,
        "open_rows": 4,
        "groups": {"speech": {}, "text": {"split": "even"}},
        "sources": [
            {"kind": "speech", "name": "asr", "group": "speech", "shards": str(inputs["shards"])},
            {
                "kind": "parallel",
                "name": "ende",
                "group": "text",
                "files": [str(inputs["pairs"])],
                "languages": ["en", "de"],
            },
            {
                "kind": "parallel",
                "name": "enfr",
                "group": "text",
                "files": [str(inputs["more_pairs"])],
                "languages": ["en", "fr"],
            },
            {
                "kind": "monolingual",
                "name": "mono",
                "group": "text",
                "files": [str(inputs["text"])],
                "language": "en",
            },
        ],
        **changes,
    }


def it_settings(inputs: dict[str, Path], out: Path, **changes: Any) -> dict[str, Any]:
    speech = {"kind": "speech", "group": "all", "shards": str(inputs["shards"])}
    translations = [str(inputs["translations"])]
    return {
        "stage": "it",
        "tokenizer": str(inputs["tokenizer"]),
        "out": str(out),
        "sequence_length": 256,
        "held_out": 0.1,
        "buckets": 5,
        "open_rows": 4,
        "groups": {"all": {}},
        "sources": [
            {"name": "asr", **speech},
            {
                "name": "st",
                "task": "st",
                "translations": translations,
                "part": [0, 2],
                **speech,
            },
            {
                "name": "turns",
                "task": "multi_turn",
                "translations": translations,
                "part": [1, 2],
                **speech,
            },
            {
                "kind": "instructions",
                "name": "blocks",
                "group": "all",
                "files": [str(inputs["instructions"])],
                "split": "train",
            },
        ],
        **changes,
    }


def config_of(settings: dict[str, Any]) -> PrepareConfig:
    return validate(settings, PrepareConfig, "test")
