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

from collections.abc import Sequence
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


def speech_cpt(tgt: str, answer: str | None, *, style: str = "paper") -> Conversation:
    """Speech to text of any language for a base model, in the form of `asr_cpt`.

    The paper trains it for English alone, and reports that other languages fail (section 5).
    """
    form = template(style)
    asked = f"{form.seam}{language(tgt)}:"
    return (_user(form.cpt_lead, SPEECH, asked), *_answer(answer))


def few_shot(
    shots: Sequence[tuple[str, str]], source: str, src: str, tgt: str, answer: str | None
) -> Conversation:
    """Translation by a base model after worked examples, each in the form of `mt_cpt`.

    Args:
        shots: sentences with their translations, the best one last.
        source: the sentence to translate.
        src, tgt: the languages' codes.
        answer: as everywhere in this module.
    """
    lead = "".join(
        f"{language(src)}: {text}\n{language(tgt)}: {translation}\n" for text, translation in shots
    )
    return (_user(f"{lead}{language(src)}: {source}\n{language(tgt)}:"), *_answer(answer))


def post_editing(source: str, draft: str, src: str, tgt: str, answer: str | None) -> Conversation:
    """Automatic post-editing as an instruction.

    TowerBlocks words it in many ways, and no one wording is published as the test's; this is one.
    """
    return (
        _user(
            f"Improve the following translation from {language(src)} to {language(tgt)}.\n"
            f"Source: {source}\nTranslation: {draft}\nImproved translation:"
        ),
        *_answer(answer),
    )


ENTITIES = {
    "Person": "Names of people",
    "Location": "Location or physical facilities",
    "Group": "Groups of people, organizations, corporations or other entities",
    "Product": "Consumer products such as food, drinks, clothing, and vehicles",
    "CreativeWorks": "Titles of creative works like movie, song, and book titles",
    "Medical": "Entities from the medical domain, including diseases, symptoms, and medications",
}
"""The entity types of MultiCoNER 2023 with tower-eval's descriptions, in its order."""


def named_entities(tokens: str, answer: str | None) -> Conversation:
    """Named entity recognition as an instruction, in the words of tower-eval's example set-up.

    Args:
        tokens: the list of tokens as tower-eval writes it.
        answer: a list of ("token", "tag") pairs, in text.
    """
    guide = "\n".join(f"- {tag} - {meaning}" for tag, meaning in ENTITIES.items())
    return (
        _user(
            f'Highlight all the named entities in the following list of tokens "{tokens}".\n'
            "These are the annotation guidelines for named entities you need to follow:\n"
            f"{guide}.\n"
            "Besides that, prepend B- as a prefix of the first token of any entity and I- to "
            "subsequent ones if they exist. If a token is not a part of a named entity, mark it as "
            "O.\nAnswer: "
        ),
        *_answer(answer),
    )
