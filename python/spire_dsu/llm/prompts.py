"""Every prompt text of the project: what surrounds the units and the sentences, by task.

The paper prints its prompts without their white space (appendix A.2, table 10), and the authors'
code (utter-project/SpireLM) has had three forms of it. So a template is named:

    paper         table 10 with line breaks between its fields; CPT has no space after "Speech:"
    spirelm       SpireLM's templates today: "Speech: ...\\nEnglish:"
    spirelm-2025  what the published numbers were decoded with: "Speech: ...\\n English:"
    spirelm-2026  SpireLM's template filler since 2026-02, which keeps each line's own line break:
                  "Speech: ...\\n\\nEnglish:"

`SPEECH` marks where the units go; `spire_dsu.llm.rendering` puts them there as tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spire_dsu.errors import ConfigError

Role = Literal["user", "assistant"]

LANGUAGES = {
    "en": "English",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ko": "Korean",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ru": "Russian",
    "zh": "Chinese",
}
"""The ten languages of Tower, by ISO 639-1 code."""


class Speech:
    """The place of an utterance's units in a prompt; `SPEECH` is the only one."""

    def __repr__(self) -> str:
        return "SPEECH"


SPEECH = Speech()
Part = str | Speech


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks; the answers of "assistant" are what is learned.
        parts: text and `SPEECH`, in order.
    """

    role: Role
    parts: tuple[Part, ...]

    @property
    def has_speech(self) -> bool:
        """Whether units belong in this turn."""
        return any(isinstance(part, Speech) for part in self.parts)


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """The white space of the speech prompts.

    Attributes:
        cpt_lead: what stands before the units in continued pre-training.
        lead: what stands before them in instructions.
        seam: between the units and the name of the language asked for.
    """

    cpt_lead: str
    lead: str
    seam: str


TEMPLATES = {
    "paper": Template("Speech:", "Speech: ", "\n"),
    "spirelm": Template("Speech: ", "Speech: ", "\n"),
    "spirelm-2025": Template("Speech: ", "Speech: ", "\n "),
    "spirelm-2026": Template("Speech: ", "Speech: ", "\n\n"),
}


def template(name: str) -> Template:
    """The template of that name.

    Raises:
        ConfigError: there is none; lists those there are.
    """
    if name not in TEMPLATES:
        raise ConfigError(f"unknown prompt template {name!r}: there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def language(code: str) -> str:
    """The English name of a language, as prompts write it.

    Raises:
        ConfigError: the code is none of Tower's ten languages.
    """
    if code not in LANGUAGES:
        raise ConfigError(f"unknown language {code!r}: there are {', '.join(LANGUAGES)}")
    return LANGUAGES[code]


def _user(*parts: Part) -> Message:
    return Message("user", parts)


def _answer(text: str | None) -> Conversation:
    return () if text is None else (Message("assistant", (text,)),)


def asr_cpt(transcript: str | None, *, style: str = "paper") -> Conversation:
    """ASR in continued pre-training: no roles are written, the answer follows after a space.

    Args:
        transcript: the answer; None for the prompt alone, as everywhere in this module.
        style: name of the template.
    """
    form = template(style)
    return (_user(form.cpt_lead, SPEECH, f"{form.seam}English:"), *_answer(transcript))


def mt_cpt(source: str, src: str, tgt: str, translation: str | None) -> Conversation:
    """A sentence pair in continued pre-training; also the shot of few-shot prompts."""
    return (
        _user(f"{language(src)}: {source}\n{language(tgt)}:"),
        *_answer(translation),
    )


def asr(transcript: str | None, *, style: str = "spirelm") -> Conversation:
    """ASR as an instruction."""
    return speech_translation("en", transcript, style=style)


def speech_translation(
    tgt: str, translation: str | None, *, style: str = "spirelm"
) -> Conversation:
    """Direct speech translation as an instruction; into English it is ASR."""
    form = template(style)
    return (_user(form.lead, SPEECH, f"{form.seam}{language(tgt)}:"), *_answer(translation))


def multi_turn_translation(
    transcript: str, tgt: str, translation: str | None, *, style: str = "spirelm"
) -> Conversation:
    """Transcribe first, then translate: both answers are learned."""
    return (
        *asr(transcript, style=style),
        _user(f"{language(tgt)}:"),
        *_answer(translation),
    )


def translation(source: str, src: str, tgt: str, answer: str | None) -> Conversation:
    """Text translation as an instruction, in TowerBlocks' words for zero-shot translation."""
    return (
        _user(
            f"Translate the following text from {language(src)} to {language(tgt)}.\n"
            f"{language(src)}: {source}\n{language(tgt)}:"
        ),
        *_answer(answer),
    )
