"""Prompts and examples as token ids: parity, masks, units by offset, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_llm import tiny_tokenizer

from spire_dsu.errors import ConfigError, InputError
from spire_dsu.llm import prompts
from spire_dsu.llm.rendering import Renderer
from spire_dsu.llm.vocabulary import UnitVocabulary, VocabularyError

UNITS = [3, 17, 0, 99]
LAYOUTS = ("plain", "chatml")


def renderer(layout: str, form: str = "extra_id") -> Renderer:
    return Renderer(tiny_tokenizer(100, form), layout=layout)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["extra_id", "pua"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("style", prompts.TEMPLATES)
@pytest.mark.parametrize("task", ["asr_cpt", "asr", "st"])
def test_a_prompt_is_a_prefix_of_its_example(form: str, layout: str, style: str, task: str) -> None:
    make = {
        "asr_cpt": lambda answer: prompts.asr_cpt(answer, style=style),
        "asr": lambda answer: prompts.asr(answer, style=style),
        "st": lambda answer: prompts.speech_translation("de", answer, style=style),
    }[task]
    made = renderer(layout, form)
    asked = made.prompt(make(None), UNITS)
    example = made.example(make("hallo Welt"), UNITS)
    np.testing.assert_array_equal(example.ids[: asked.size], asked)
    assert not example.learned[: asked.size].any()
    assert example.learned[asked.size :].all()
    assert example.ids[-1] == made.end_token


@pytest.mark.parametrize("form", ["extra_id", "pua"])
def test_units_by_offset_equal_units_by_text(form: str) -> None:
    tokenizer = tiny_tokenizer(100, form)
    made = Renderer(tokenizer, layout="plain")
    text = "".join(made.vocabulary.spell(unit) for unit in UNITS)
    expected = tokenizer(f"Speech: {text}\nEnglish:")["input_ids"]
    assert made.prompt(prompts.asr(None), UNITS).tolist() == expected


def test_chatml_is_the_tokenizers_own_template() -> None:
    tokenizer = tiny_tokenizer(100)
    made = Renderer(tokenizer, layout="chatml")
    text = "".join(made.vocabulary.spell(unit) for unit in UNITS)
    said = [{"role": "user", "content": f"Speech: {text}\nEnglish:"}]
    expected = tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
    assert made.prompt(prompts.asr(None), UNITS).tolist() == tokenizer(expected)["input_ids"]


def test_both_answers_of_a_multi_turn_translation_are_learned() -> None:
    tokenizer = tiny_tokenizer(100)
    made = Renderer(tokenizer, layout="chatml")
    example = made.example(prompts.multi_turn_translation("hello", "de", "hallo"), UNITS)
    second = made.prompt(prompts.multi_turn_translation("hello", "de", None), UNITS)
    np.testing.assert_array_equal(example.ids[: second.size], second)
    learned = tokenizer.decode(example.ids[example.learned])
    assert learned.replace(" ", "") == "hello<|im_end|>hallo<|im_end|>"


def test_text_needs_no_units() -> None:
    made = Renderer(tiny_tokenizer(0), layout="chatml")
    example = made.example(prompts.translation("hello", "en", "de", "hallo"))
    assert example.learned.sum() > 1


@pytest.mark.parametrize("style", prompts.TEMPLATES)
def test_the_templates_byte_for_byte(style: str) -> None:
    expected = {
        "paper": "Speech: |\nEnglish:",
        "spirelm": "Speech: |\nEnglish:",
        "spirelm-2025": "Speech: |\n English:",
        "spirelm-2026": "Speech: |\n\nEnglish:",
    }[style]
    (message,) = prompts.asr(None, style=style)
    assert (
        "".join("|" if part is prompts.SPEECH else str(part) for part in message.parts) == expected
    )


def test_the_papers_pre_training_prompt_has_no_space_before_units() -> None:
    (message,) = prompts.asr_cpt(None)
    assert message.parts == ("Speech:", prompts.SPEECH, "\nEnglish:")


@pytest.mark.parametrize(
    ("conversation", "units"),
    [
        (prompts.asr(None), None),
        (prompts.asr(None), []),
        (prompts.translation("a", "en", "de", None), [1]),
        (prompts.asr("answer"), [1]),
        (prompts.asr(None), [100]),
        (prompts.asr(None), [-1]),
        (prompts.translation("<extra_id_3>", "en", "de", None) + prompts.asr(None), [1]),
        ((), None),
    ],
)
def test_what_does_not_fit_is_refused(
    conversation: prompts.Conversation, units: list[int] | None
) -> None:
    with pytest.raises((InputError, VocabularyError)):
        renderer("chatml").prompt(conversation, units)


def test_a_unit_spelled_in_the_text_is_refused() -> None:
    asked = prompts.multi_turn_translation("say <extra_id_5>", "de", None)
    with pytest.raises(InputError, match="spelling of a unit"):
        renderer("chatml").prompt(asked, [1])


def test_tokenizers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(VocabularyError, match="ChatML"):
        Renderer(tiny_tokenizer(5, chat=False), layout="chatml")
    with pytest.raises(VocabularyError, match="extend-vocab"):
        Renderer(tiny_tokenizer(0), layout="plain").prompt(prompts.asr(None), UNITS)
    scattered = tiny_tokenizer(0)
    scattered.add_tokens(["<extra_id_0>", "between", "<extra_id_1>"])
    with pytest.raises(VocabularyError, match="consecutive"):
        UnitVocabulary.of(scattered)


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="klingon"):
        prompts.translation("a", "en", "klingon", None)
    with pytest.raises(ConfigError, match="spirelm"):
        prompts.asr(None, style="mine")
