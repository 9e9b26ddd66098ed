"""A conversation and the units of an utterance -> token ids, for training and evaluation alike.

One function makes the prompt's ids for both, so an evaluation prompt is a prefix of the training
example by construction. Units enter by offset: the text is tokenized with the spelling of one unit
in their place, and that one token is then replaced. So the seams are those of the full text, and
an utterance of a thousand units costs the tokenizer as much as one of three.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import InputError
from spire_dsu.llm.prompts import Conversation, Speech
from spire_dsu.llm.vocabulary import UnitVocabulary, VocabularyError
from spire_dsu.types import Int32

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
TEXT_END = "</s>"
"""Llama's end of a text: a plain document may end with it though ChatML's mark ends the sequence.
"""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Tower's ChatML for a tokenizer's `chat_template`; `Renderer` writes the same text itself."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids with what is learned of them.

    Attributes:
        ids: int32 [L], the tokens.
        learned: bool [L], True where the loss counts when this token is to be predicted.
    """

    ids: Int32
    learned: npt.NDArray[np.bool_]


class Renderer:
    """Turns conversations into token ids with one tokenizer.

    Args:
        tokenizer: a tokenizer of transformers, with unit tokens if speech is rendered.
        layout: "chatml" writes each turn between `<|im_start|>ROLE` and `<|im_end|>`; "plain"
            writes a prompt and, after a space, its answer, as base models learn it.
        end_token: what ends a plain answer; None takes the tokenizer's end of sequence. In ChatML
            every answer ends in `<|im_end|>`.

    Raises:
        VocabularyError: the tokenizer lacks a token that the layout needs, or ends every text.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        layout: Literal["chatml", "plain"],
        end_token: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self._chat = layout == "chatml"
        name, known = tokenizer.name_or_path, tokenizer.get_vocab()
        if self._chat and not {TURN_START, TURN_END} <= known.keys():
            raise VocabularyError(f"{name}: ChatML needs the tokens {TURN_START} and {TURN_END}")
        end = known[TURN_END] if self._chat else end_token
        self.end_token: int = tokenizer.eos_token_id if end is None else end
        if self.end_token is None:
            raise VocabularyError(f"{name}: the tokenizer has no end of sequence")
        if self._encode("a")[-1] == tokenizer.eos_token_id:
            raise VocabularyError(
                f"{name}: the tokenizer ends every text, prompts too, with its end of sequence; "
                "set add_eos_token to false"
            )
        self._units: UnitVocabulary | None = None

    @property
    def vocabulary(self) -> UnitVocabulary:
        """The tokenizer's units; looked for when first needed, as text alone needs none."""
        if self._units is None:
            self._units = UnitVocabulary.of(self._tokenizer)
        return self._units

    def prompt(self, conversation: Conversation, units: npt.ArrayLike | None = None) -> Int32:
        """Token ids that a model is given to answer.

        Args:
            conversation: ends in a user's turn.
            units: integers [U], runs merged; needed where a turn has speech.

        Returns:
            int32 [L].

        Raises:
            InputError: the turns or the units are not as said.
        """
        if len(conversation) % 2 != 1:
            raise InputError("a prompt ends in a user's turn, this one does not")
        return self._rendered(conversation, units).ids

    def example(self, conversation: Conversation, units: npt.ArrayLike | None = None) -> Rendered:
        """Token ids of a training example; the answers and their end tokens are learned.

        Args:
            conversation: ends in an assistant's turn.
            units: integers [U], runs merged; needed where a turn has speech.

        Returns:
            ids and mask; the ids begin with those of `prompt` up to each answer.

        Raises:
            InputError: the turns or the units are not as said.
        """
        if len(conversation) % 2 != 0 or not conversation:
            raise InputError("a training example ends in an assistant's turn, this one does not")
        return self._rendered(conversation, units)

    @contextlib.contextmanager
    def together(self, conversations: Iterable[Conversation]) -> Iterator[None]:
        """Tokenizes the texts of many conversations at once, which is faster than one by one.

        Within the block, `prompt` and `example` of these conversations find their tokens ready;
        what they return is the same.
        """
        texts: dict[str, None] = {}
        for conversation in conversations:
            text = ""
            for piece, _ in self._pieces(conversation):
                text += piece
                texts[text] = None
        if texts:
            found = self._tokenizer(list(texts), add_special_tokens=True)["input_ids"]
            self._known = dict(zip(texts, found, strict=True))
        try:
            yield
        finally:
            self._known = {}

    def _rendered(self, conversation: Conversation, units: npt.ArrayLike | None) -> Rendered:
        roles = [message.role for message in conversation]
        if any(role != ("user", "assistant")[turn % 2] for turn, role in enumerate(roles)):
            raise InputError(f"turns alternate and begin with the user's, got {roles}")
        if not self._chat and len(roles) > 2:
            raise InputError(f"the plain layout has one question and one answer, got {roles}")
        text = ""
        ids: list[int] = []
        learned: list[bool] = []
        for piece, counts in self._pieces(conversation):
            more = self._continuation(text, ids, piece)
            text, ids = text + piece, ids + more
            learned = learned + [counts] * len(more)
        if not self._chat and len(roles) == 2:
            ids, learned = [*ids, self.end_token], [*learned, True]
        return self._with_units(ids, learned, conversation, units)

    def _pieces(self, conversation: Conversation) -> Iterator[tuple[str, bool]]:
        """The text in order, and whether it is learned; one unit's spelling where units go."""
        close = ""
        for message in conversation:
            content = "".join(
                self.vocabulary.spell(0) if isinstance(part, Speech) else part
                for part in message.parts
            )
            if not self._chat:
                yield (f" {content}", True) if message.role == "assistant" else (content, False)
            elif message.role == "assistant":
                yield f"{content}{TURN_END}", True
                close = "\n"
            else:
                asked = f"{TURN_START}user\n{content}{TURN_END}\n"
                yield f"{close}{asked}{TURN_START}assistant\n", False

    def _continuation(self, text: str, ids: list[int], piece: str) -> list[int]:
        """The tokens of the next piece of text: what the whole has after those already there."""
        whole = self._encode(text + piece)
        if whole[: len(ids)] == ids:
            return whole[len(ids) :]
        # The text merges over the border, and a model can only go on after the tokens it was given.
        alone: list[int] = self._tokenizer(piece, add_special_tokens=False)["input_ids"]
        return alone

    def _encode(self, text: str) -> list[int]:
        if text in self._known:
            return list(self._known[text])
        ids: list[int] = self._tokenizer(text, add_special_tokens=True)["input_ids"]
        return ids

    def _with_units(
        self,
        ids: list[int],
        learned: list[bool],
        conversation: Conversation,
        units: npt.ArrayLike | None,
    ) -> Rendered:
        places = sum(isinstance(p, Speech) for message in conversation for p in message.parts)
        units_U = np.zeros(0, np.int32) if units is None else np.asarray(units)
        if places > 1:
            raise InputError(f"a conversation holds one utterance, this one has {places} places")
        if (places == 1) != (units_U.size > 0):
            raise InputError(
                "a turn has a place for units, and there are none"
                if places
                else f"{units_U.size} units were given, and no turn has a place for them"
            )
        ids_L, learned_L = np.asarray(ids, np.int32), np.asarray(learned, bool)
        if not places:
            return Rendered(ids_L, learned_L)
        slots = np.flatnonzero(self.vocabulary.is_unit(ids_L))
        if slots.size != 1:
            raise InputError("the text of the conversation holds the spelling of a unit itself")
        at = int(slots[0])
        tokens_U = self.vocabulary.tokens(units_U)
        return Rendered(
            np.concatenate([ids_L[:at], tokens_U, ids_L[at + 1 :]]),
            np.concatenate([learned_L[:at], np.zeros(tokens_U.size, bool), learned_L[at + 1 :]]),
        )
