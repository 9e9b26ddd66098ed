"""What a system is, and the loop that systems of transformers share."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from spire_dsu.errors import AudioError, ConfigError, InputError
from spire_dsu.llm.generation.checkpoint import digest_of_files
from spire_dsu.llm.generation.lines import ResumableLines
from spire_dsu.types import Float32
from spire_evaluation.config import BaselineConfig, SystemConfig
from spire_evaluation.items import SPEECH, Item, Prediction, Task, TestSet
from spire_evaluation.speech import NO_SPEECH, UnitTable, wave
from spire_evaluation.systems.torch_models import load_model, release

Label = Literal["", "transcripts", "gold"]
"""What else a cascade tells beside its answers: its transcripts, and the gold ones translated."""

Progress = Callable[[str, int, int], None]
"""Told (system, answers there, all answers)."""


class Answered(NamedTuple):
    """Answers of one system on one test set."""

    label: Label
    key: str
    predictions: list[Prediction]


class System(ABC):
    """Answers the items of test sets.

    Args:
        config: name, and which tests it answers.
        out: a folder for what it remembers, so that a killed run goes on.
    """

    tasks: ClassVar[frozenset[Task]]
    needs_units: bool = False

    def __init__(self, config: SystemConfig, out: Path) -> None:
        self.config = config
        self.name = config.name
        self.out = out

    def chosen(self, tests: Sequence[TestSet]) -> list[TestSet]:
        """The tests that it is to answer: of its tasks, with a key that it was given.

        Raises:
            ConfigError: a pattern fits no test set.
        """
        keys = [test.key for test in tests]
        for pattern in self.config.tests:
            if not fnmatch.filter(keys, pattern):
                raise ConfigError(f"system {self.name!r}: no test set fits {pattern!r}")
        return [
            test
            for test in tests
            if test.task in self.tasks
            and any(fnmatch.fnmatchcase(test.key, pattern) for pattern in self.config.tests)
        ]

    @abstractmethod
    def check(self, tests: Sequence[TestSet]) -> None:
        """Whatever can be wrong, before anything is generated.

        Raises:
            SpireError: a language that it lacks, a vocabulary without units, a file with other ids.
        """

    @abstractmethod
    def answer(
        self, tests: Sequence[TestSet], units: UnitTable, progress: Progress
    ) -> list[Answered]:
        """Answers every item of every test, in order; goes on where it was killed."""

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """What decides the answers, besides the items: digests, settings, versions."""


class Baseline(System):
    """A published model through transformers: greedy, in batches, each batch on disk at once."""

    config: BaselineConfig
    languages: ClassVar[frozenset[str]]

    def __init__(self, config: BaselineConfig, out: Path) -> None:
        super().__init__(config, out)
        self._loaded: tuple[Any, Any] | None = None
        if not (config.model / "config.json").is_file():
            raise ConfigError(f"system {config.name!r}: {config.model} has no config.json")

    def check(self, tests: Sequence[TestSet]) -> None:
        """The languages of every test are its own."""
        for test in tests:
            for code in (test.src, test.tgt):
                if code not in self.languages:
                    raise ConfigError(
                        f"system {self.name!r} has no language {code!r}, which {test.key} asks "
                        "for: name the tests that it is to answer in its `tests`"
                    )

    @abstractmethod
    def load(self, test: TestSet) -> Callable[[list[Item], list[Float32]], list[str]]:
        """Something that answers a batch: items with their waveforms (none for text)."""

    def answer(
        self, tests: Sequence[TestSet], units: UnitTable, progress: Progress
    ) -> list[Answered]:
        """See `System`."""
        del units
        try:
            return [Answered("", test.key, self._answer(test, progress)) for test in tests]
        finally:
            self._loaded = None  # the next system needs the memory
            release()

    def model(self, kind: Any) -> Any:
        """The model as a class of transformers; loaded once for tests that follow each other."""
        if self._loaded is None or self._loaded[0] is not kind:
            self._loaded = None
            self._loaded = kind, load_model(kind, self.config)
        return self._loaded[1]

    def provenance(self) -> dict[str, Any]:
        """See `System`."""
        return {
            "config": self.config.model_dump(mode="json", exclude={"model", "tests"}),
            "model_sha256": digest_of_folder(self.config.model),
        }

    def _answer(self, test: TestSet, progress: Progress) -> list[Prediction]:
        settings = self.config.model_dump(mode="json", exclude={"model", "tests", "published"})
        header = {"settings": settings, "model": digest_of_folder(self.config.model)}
        file = ResumableLines(self.out / f"{file_name(test.key)}.jsonl", header)
        digests = {item.id: _digest(test, item) for item in test.items}
        todo = [i for i in test.items if file.known.get(i.id, {}).get("item") != digests[i.id]]
        ask = self.load(test) if todo else None
        size = self.config.batch_size
        for start in range(0, len(todo), size):
            batch = todo[start : start + size]
            answers = _ask(test, batch, ask) if ask else {}
            file.append(
                {"id": item.id, "item": digests[item.id], **answers[item.id]} for item in batch
            )
            progress(self.name, len(test.items) - len(todo) + start + len(batch), len(test.items))
        file.finish([item.id for item in test.items])
        lines = [file.known[item.id] for item in test.items]
        return [Prediction(line["id"], line["text"], line.get("finish")) for line in lines]


def _ask(
    test: TestSet, batch: Sequence[Item], ask: Callable[[list[Item], list[Float32]], list[str]]
) -> dict[str, dict[str, str]]:
    if test.task not in SPEECH:
        texts = ask(list(batch), [])
        return {item.id: {"text": text} for item, text in zip(batch, texts, strict=True)}
    heard: list[Item] = []
    waves: list[Float32] = []
    found: dict[str, dict[str, str]] = {}
    for item in batch:
        try:
            waves.append(wave(item))
            heard.append(item)
        except AudioError:
            found[item.id] = {"text": "", "finish": NO_SPEECH}
    texts = ask(heard, waves) if heard else []
    return found | {item.id: {"text": text} for item, text in zip(heard, texts, strict=True)}


def file_name(key: str) -> str:
    """A test set's key as a file's name."""
    return key.replace("/", ".")


def digest_of_folder(folder: Path) -> str:
    """SHA-256 over the names and digests of a model's files."""
    wanted = sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".model"))
    if not any(path.suffix == ".safetensors" for path in wanted):
        raise InputError(f"{folder}: the model folder has no *.safetensors")
    return digest_of_files(wanted)


def _digest(test: TestSet, item: Item) -> str:
    """What an answer depends on, besides the model: the text, or the name of the recording."""
    shown = item.speech.source if item.speech is not None else item.source
    return hashlib.sha256(json.dumps([test.task, test.src, test.tgt, shown]).encode()).hexdigest()[
        :16
    ]
