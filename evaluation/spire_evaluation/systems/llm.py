"""Spire, Tower, and other causal language models that a Hugging Face folder holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.errors import ConfigError, InputError
from spire_dsu.llm import prompts
from spire_dsu.llm.generation import GenerationConfig, Request, generate, read_answers
from spire_dsu.llm.generation.checkpoint import Checkpoint
from spire_dsu.llm.prompts import Conversation
from spire_dsu.llm.rendering import Renderer
from spire_dsu.llm.vocabulary import VocabularyError
from spire_evaluation.config import LlmConfig
from spire_evaluation.items import SPEECH, TASKS, Item, Prediction, TestSet
from spire_evaluation.speech import NO_SPEECH, UnitTable
from spire_evaluation.systems.base import Answered, Progress, System

TOO_LONG = "too long"
"""The `finish` of an answer that was never asked for: the prompt left no room for it."""


class LanguageModel(System):
    """A checkpoint that is prompted: base with plain prompts, instructed with ChatML."""

    tasks = frozenset(TASKS)
    needs_units = True
    config: LlmConfig

    def __init__(self, config: LlmConfig, out: Path) -> None:
        super().__init__(config, out)
        self.checkpoint = Checkpoint(config.model)
        self.style = config.style or ("spirelm" if config.layout == "chatml" else "paper")
        prompts.template(self.style)
        self.prompts: dict[str, str] = {}

    @cached_property
    def renderer(self) -> Renderer:
        """Turns conversations into token ids."""
        return Renderer(self.checkpoint.tokenizer, layout=self.config.layout)

    @cached_property
    def generation(self) -> GenerationConfig:
        """How answers are generated: a base model's end at a line break."""
        given = self.config.generation
        if self.config.layout == "plain" and not given.stop:
            return given.model_copy(update={"stop": ["\n"]})
        return given

    def check(self, tests: Sequence[TestSet]) -> None:
        """The vocabulary has units for speech, and there are enough worked examples."""
        _ = self.renderer, self.checkpoint.rows
        for test in tests:
            if test.task in SPEECH:
                _ = self.renderer.vocabulary
            if test.task == "mt" and len(test.shots) < self.config.shots:
                raise ConfigError(
                    f"system {self.name!r}: {test.key} has {len(test.shots)} worked examples, not "
                    f"{self.config.shots}: name a file of them in the test's `shots`"
                )

    def answer(
        self, tests: Sequence[TestSet], units: UnitTable, progress: Progress
    ) -> list[Answered]:
        """See `System`: one start of the engine for all tests."""
        requests: list[Request] = []
        skipped: dict[str, Prediction] = {}
        room = (self.generation.max_model_len or self.checkpoint.longest) - (
            self.generation.max_new_tokens
        )
        for test in tests:
            self._check_units(test, units)
            asked = []
            for item in test.items:
                name = f"{test.key}/{item.id}"
                prompt = self._prompt(test, item, units)
                if prompt is None:
                    skipped[name] = Prediction(item.id, "", NO_SPEECH, 0, 0)
                elif prompt.size > room:
                    skipped[name] = Prediction(item.id, "", TOO_LONG, 0, prompt.size)
                else:
                    asked.append(Request(name, prompt))
            self.prompts[test.key] = _digest(asked)
            requests += asked
        out = self.out / "answers.jsonl"
        generate(
            self.checkpoint.folder,
            requests,
            out,
            self.generation,
            progress=lambda done, of: progress(self.name, done, of),
        )
        answers, sizes = read_answers(out), {r.id: int(r.prompt.size) for r in requests}

        def prediction(test: TestSet, item: Item) -> Prediction:
            name = f"{test.key}/{item.id}"
            if name in skipped:
                return skipped[name]
            found = answers[name]
            tokens = len(found.tokens)
            return Prediction(item.id, found.text.strip(), found.finish, tokens, sizes[name])

        return [
            Answered("", test.key, [prediction(test, item) for item in test.items])
            for test in tests
        ]

    def provenance(self) -> dict[str, Any]:
        """See `System`."""
        return {
            "config": self.config.model_dump(mode="json", exclude={"model", "tests"}),
            "model_sha256": self.checkpoint.digest(),
            "style": self.style,
            "stop": list(self.generation.stop),
            "prompts_sha256": dict(sorted(self.prompts.items())),
            "transformers": version("transformers"),
        }

    def conversation(self, test: TestSet, item: Item) -> Conversation:
        """What the model is asked, in words, with a place for the units."""
        source = item.source or ""
        if test.task == "ner":
            return prompts.named_entities(source, None)
        if test.task == "ape":
            return prompts.post_editing(source, item.draft or "", test.src, test.tgt, None)
        plain = self.config.layout == "plain"
        if test.task == "mt":
            if plain:
                shots = test.shots[: self.config.shots]
                return prompts.few_shot(shots, source, test.src, test.tgt, None)
            return prompts.translation(source, test.src, test.tgt, None)
        if plain:
            return prompts.speech_cpt(test.tgt, None, style=self.style)
        return prompts.speech_translation(test.tgt, None, style=self.style)

    def _prompt(self, test: TestSet, item: Item, units: UnitTable) -> Any:
        """int32 [L], or None for a recording without units."""
        conversation = self.conversation(test, item)
        if test.task not in SPEECH:
            return self.renderer.prompt(conversation)
        spoken = units.of(test, item)
        if not spoken.units.size:
            return None
        try:
            return self.renderer.prompt(conversation, spoken.units)
        except InputError as error:
            raise InputError(f"{test.key}, item {item.id!r}: {error}") from error

    def _check_units(self, test: TestSet, units: UnitTable) -> None:
        if test.task not in SPEECH:
            return
        known, made = self.renderer.vocabulary.num_units, units.num_units[test.key]
        if made > known:
            raise VocabularyError(
                f"system {self.name!r}: {self.checkpoint.folder} knows {known} units, and the "
                f"units of {test.key} were made with a codebook of {made}"
            )


def _digest(requests: Sequence[Request]) -> str:
    """SHA-256 over ids and prompts, in order."""
    digest = hashlib.sha256()
    for request in requests:
        digest.update(request.id.encode() + b"\0" + request.prompt.astype(np.int32).tobytes())
    return digest.hexdigest()
