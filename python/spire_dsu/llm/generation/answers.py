"""Requests, answers, and the file of answers, which a killed run goes on with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from spire_dsu.llm.generation.lines import ResumableLines, read_json_lines
from spire_dsu.llm.generation.settings import GenerationError
from spire_dsu.types import Int32

Finish = Literal["end", "stop", "length"]
FORMAT = "spire-answers"


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to answer.

    Attributes:
        id: unique among the requests of a file.
        prompt: int32 [L], token ids.
    """

    id: str
    prompt: Int32

    def digest(self) -> str:
        """What the answer's line remembers of the prompt."""
        return hashlib.sha256(self.prompt.astype("<i4").tobytes()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Raw:
    """What an engine gives: tokens as they came, without the end token."""

    id: str
    tokens: list[int]
    finish: Finish


class Emit(Protocol):
    """Takes the answers of one batch; they are on disk when it returns."""

    def __call__(self, answers: Sequence[Raw]) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answered.

    Attributes:
        id: of its request.
        text: the tokens' text without special tokens, cut before the first stop text.
        tokens: as generated, without the end token; the last one may reach over a stop text.
        finish: "end" at an end token, "stop" at a stop text, "length" when cut.
    """

    id: str
    text: str
    tokens: tuple[int, ...]
    finish: Finish


def read_answers(out: str | os.PathLike[str]) -> dict[str, Answer]:
    """The answers of a finished file, by id, in the order of their requests.

    Raises:
        GenerationError: there is no such file, or it is not one of answers.
    """
    path = Path(out)
    if not path.is_file():
        raise GenerationError(f"{path}: no such file of answers")
    lines = read_json_lines(path)
    if not lines or lines[0].get("format") != FORMAT:
        raise GenerationError(f"{path}: not a file of answers")
    return {line["id"]: _answer(line) for line in lines[1:]}


class AnswerFile:
    """A file of answers while it grows.

    Args:
        out: the finished file.
        settings: fingerprint of everything but the prompts that decides the answers.

    Raises:
        GenerationError: the file there holds answers made under other settings.
    """

    def __init__(self, out: Path, settings: str) -> None:
        self._lines = ResumableLines(out, {"format": FORMAT, "version": 1, "settings": settings})

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """The requests that have no answer yet; one to another prompt is none."""
        known = self._lines.known
        return [
            request
            for request in requests
            if known.get(request.id, {}).get("prompt") != request.digest()
        ]

    def append(self, answers: Iterable[tuple[Request, Answer]]) -> None:
        """Adds answers; they outlive a crash once this returns."""
        self._lines.append(_line(request, answer) for request, answer in answers)

    def finish(self, requests: Sequence[Request]) -> None:
        """Writes the finished file: exactly these requests, in this order."""
        self._lines.finish([request.id for request in requests])


def _line(request: Request, answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.id,
        "text": answer.text,
        "finish": answer.finish,
        "tokens": list(answer.tokens),
        "prompt": request.digest(),
    }


def _answer(line: dict[str, Any]) -> Answer:
    return Answer(line["id"], line["text"], tuple(line["tokens"]), line["finish"])


def as_prompt(ids: Sequence[int]) -> Int32:
    """int32 [L] of plain integers, for a `Request`."""
    return np.asarray(ids, np.int32)
