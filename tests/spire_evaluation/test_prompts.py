"""What an evaluation asks is what training taught: each prompt begins a training example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_llm import tiny_llama

from spire_dsu.config import validate
from spire_dsu.llm import prompts
from spire_dsu.llm.prompts import Conversation, Message
from spire_evaluation.config import LlmConfig
from spire_evaluation.items import Item, Task, TestSet
from spire_evaluation.systems.llm import LanguageModel

ITEM = Item("1", "Hallo.", source="Hello.", draft="Halo.")
UNITS = np.array([3, 1, 4, 1, 5])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llm") / "tiny", units=10)


def system(folder: Path, **more: object) -> LanguageModel:
    values = {"name": "x", "kind": "llm", "model": str(folder), **more}
    return LanguageModel(validate(values, LlmConfig, "test"), folder / "out")


@pytest.mark.parametrize("layout", ["chatml", "plain"])
@pytest.mark.parametrize("task", ["asr", "st", "mt", "ape", "ner"])
def test_a_prompt_is_the_beginning_of_a_training_example(
    folder: Path, layout: str, task: Task
) -> None:
    made = system(folder, layout=layout)
    test = TestSet("x/y", task, "en", "en" if task in ("asr", "ner") else "de", (ITEM,))
    asked = made.conversation(test, ITEM)
    units = UNITS if task in ("asr", "st") else None
    prompt = made.renderer.prompt(asked, units)
    example = made.renderer.example((*asked, Message("assistant", ("Hallo.",))), units)
    assert example.ids[: prompt.size].tolist() == prompt.tolist()
    assert not example.learned[: prompt.size].any()


def training(task: Task) -> Conversation:
    """What training's own functions make of it."""
    if task == "asr":
        return prompts.asr(None)
    if task == "st":
        return prompts.speech_translation("de", None)
    return prompts.translation("Hello.", "en", "de", None)


@pytest.mark.parametrize("task", ["asr", "st", "mt"])
def test_the_words_are_those_of_training(folder: Path, task: Task) -> None:
    test = TestSet("x/y", task, "en", "en" if task == "asr" else "de", (ITEM,))
    assert system(folder).conversation(test, ITEM) == training(task)
    plain = system(folder, layout="plain").conversation(test, ITEM)
    if task == "asr":
        assert plain == prompts.asr_cpt(None)
    if task == "mt":
        assert plain == prompts.mt_cpt("Hello.", "en", "de", None)


def test_shots_come_before_the_question(folder: Path) -> None:
    shots = (("One.", "Eins."), ("Two.", "Zwei."), ("Three.", "Drei."))
    test = TestSet("x/y", "mt", "en", "de", (ITEM,), shots)
    (turn,) = system(folder, layout="plain", shots=2).conversation(test, ITEM)
    assert turn.parts == (
        "English: One.\nGerman: Eins.\nEnglish: Two.\nGerman: Zwei.\nEnglish: Hello.\nGerman:",
    )


def test_entities_are_asked_for_in_tower_evals_words() -> None:
    (turn,) = prompts.named_entities('["Ada", "slept"]', None)
    (text,) = turn.parts
    assert isinstance(text, str)
    lines = text.split("\n")
    assert lines[0] == (
        'Highlight all the named entities in the following list of tokens "["Ada", "slept"]".'
    )
    assert lines[2] == "- Person - Names of people"
    assert lines[7].endswith("diseases, symptoms, and medications.")
    assert lines[-1] == "Answer: "
    assert len(lines) == 10


def test_base_models_stop_at_a_line_break(folder: Path) -> None:
    assert system(folder, layout="plain").generation.stop == ["\n"]
    assert system(folder).generation.stop == []
    named = {"stop": ["END"]}
    assert system(folder, layout="plain", generation=named).generation.stop == ["END"]
