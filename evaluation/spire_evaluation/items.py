"""What is asked and what was answered: items, test sets, predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from spire_dsu.errors import InputError
from spire_dsu.files import write_atomically
from spire_dsu.types import Utterance
from spire_evaluation.segments import Segment

Task = Literal["asr", "mt", "st", "ape", "ner"]
TASKS: tuple[Task, ...] = get_args(Task)
SPEECH: tuple[Task, ...] = ("asr", "st")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to answer.

    Attributes:
        id: unique in its test set.
        reference: the text that is right.
        source: what is to be transformed: a sentence, a list of tokens (ner); for speech the gold
            transcript, which no system is shown and COMET takes as its source.
        speech: the recording, for asr and st.
        draft: the translation to improve (ape).
        speaker: whose voice it is, if known.
        tokens, tags: the words and their entity tags (ner).
    """

    id: str
    reference: str
    source: str | None = None
    speech: Utterance | None = None
    draft: str | None = None
    speaker: str | None = None
    tokens: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TestSet:
    """Items of one task and language pair.

    Attributes:
        key: "kind/part", as configurations, tables and files name it.
        task: what is asked.
        src, tgt: languages, two letters; equal for asr and ner.
        items: in the order of the published set.
        shots: worked examples (source, target) for few-shot prompts of translation.
    """

    __test__ = False  # pytest takes the name for one of its own

    key: str
    task: Task
    src: str
    tgt: str
    items: tuple[Item, ...]
    shots: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        if not self.items:
            raise InputError(f"test set {self.key}: it has no item")
        for item in self.items:
            if item.id in seen:
                raise InputError(f"test set {self.key}: id {item.id!r} is there twice")
            seen.add(item.id)

    def references(self) -> list[Segment]:
        """The references, as metrics read them."""
        return [
            Segment(
                item.id,
                item.reference,
                item.source,
                item.speaker,
                self.tgt,
                item.tokens,
                item.tags,
            )
            for item in self.items
        ]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a system answered.

    Attributes:
        id: of the item.
        text: the answer.
        finish: why it ended, where the system tells: "end", "stop", "length", or "no speech" for a
            recording that has no units.
        answer_tokens: how many were generated, where the system tells.
        prompt_tokens: how many the model was shown, where the system tells.
    """

    id: str
    text: str
    finish: str | None = None
    answer_tokens: int | None = None
    prompt_tokens: int | None = None


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """JSON lines that `spire-dsu eval score --hyps` reads, with how each answer ended if known."""
    lines = []
    for each in predictions:
        row = {
            "id": each.id,
            "text": each.text,
            "finish": each.finish,
            "answer_tokens": each.answer_tokens,
            "prompt_tokens": each.prompt_tokens,
        }
        kept = {key: value for key, value in row.items() if value is not None}
        lines.append(json.dumps(kept, ensure_ascii=False) + "\n")
    write_atomically(path, "".join(lines).encode())


def write_references(path: Path, test: TestSet) -> None:
    """JSON lines that `spire-dsu eval score --refs` reads."""
    lines = []
    for segment in test.references():
        row = {
            "id": segment.id,
            "text": segment.text,
            "source": segment.source,
            "speaker": segment.speaker,
            "lang": segment.lang,
            "tokens": segment.tokens,
            "tags": segment.tags,
        }
        kept = {key: value for key, value in row.items() if value is not None}
        lines.append(json.dumps(kept, ensure_ascii=False) + "\n")
    write_atomically(path, "".join(lines).encode())
