"""Which tokens are added to a tokenizer, and at which ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spire_dsu.llm.rendering import TURN_END, TURN_START
from spire_dsu.llm.vocabulary import FORMS, PADDED_TO, VocabularyError

Form = Literal["extra_id", "pua"]
Layout = Literal["released", "append"]

PAD = "<PAD>"
SPECIALS = ("<CLS>", "<EOD>", "<MASK>", PAD, "<SEP>")
"""What stands before the units in the released tokenizers, in their order (32000 to 32004)."""

LLAMA_PIECES = 32_000
"""Tokens of Llama-2's vocabulary and of TowerBase's: what the released layout is built on."""

LAST_PRIVATE_UNIT = 0xFFFD


@dataclass(frozen=True, slots=True)
class Addition:
    """The new tokens of a vocabulary, in the order of their ids.

    Attributes:
        first_id: id of the first new token: tokens that the base knows.
        specials: the five specials, or none.
        units: spellings of the units, or none where the base has them.
        chat: the marks of ChatML, or none.
        form: how units are spelled.
    """

    first_id: int
    specials: tuple[str, ...]
    units: tuple[str, ...]
    chat: tuple[str, ...]
    form: Form

    @property
    def names(self) -> tuple[str, ...]:
        """All new tokens."""
        return self.specials + self.units + self.chat

    @property
    def num_tokens(self) -> int:
        """Tokens of the extended vocabulary."""
        return self.first_id + len(self.names)

    def rows(self, base_rows: int) -> int:
        """Rows of the extended tables: a multiple of 64, and never fewer than there were."""
        return max(base_rows, -(-self.num_tokens // PADDED_TO) * PADDED_TO)


def plan(
    known: dict[str, int],
    *,
    units: int,
    form: Form,
    chat: bool,
    layout: Layout | None,
    name: str,
) -> Addition:
    """Decides which tokens are added.

    Args:
        known: the base's tokens and their ids.
        units: K of the codebook.
        form: how units are spelled.
        chat: whether the marks of ChatML are added (where they are not there yet).
        layout: "released" puts the five specials before the units, "append" does not; None takes
            the released one for a base of exactly 32,000 tokens.
        name: how errors call the base.

    Raises:
        VocabularyError: the units do not fit the form, or the base has other units already.
    """
    first_id = max(known.values()) + 1
    spell = FORMS[form]
    if units < 1 or (form == "pua" and units > LAST_PRIVATE_UNIT + 1):
        raise VocabularyError(f"{units} units: there are 1 to {LAST_PRIVATE_UNIT + 1} in pua form")
    present = {other: count(known, other) for other in FORMS}
    if any(present.values()):
        if present[form] != units or sum(present.values()) != units:
            raise VocabularyError(
                f"{name}: the tokenizer has units already, {present}, and not {units} as {form}"
            )
        specials: tuple[str, ...] = ()
        spellings: tuple[str, ...] = ()
    else:
        layout = layout or ("released" if first_id == LLAMA_PIECES else "append")
        if layout == "released" and first_id != LLAMA_PIECES:
            raise VocabularyError(
                f"{name}: the released ids need a base of {LLAMA_PIECES} tokens, and this one has "
                f"{first_id}; use --layout append"
            )
        specials = SPECIALS if layout == "released" else ()
        spellings = tuple(spell(unit) for unit in range(units))
    marks = tuple(mark for mark in (TURN_END, TURN_START) if chat and mark not in known)
    made = Addition(first_id, specials, spellings, marks, form)
    taken = [token for token in made.names if token in known]
    if taken:
        raise VocabularyError(f"{name}: the tokenizer has a token {taken[0]!r} already")
    if not made.names:
        raise VocabularyError(f"{name}: the tokenizer has all of these tokens already")
    return made


def count(known: dict[str, int], form: str) -> int:
    """How many units of a form a vocabulary has, from unit 0 on."""
    spell, unit = FORMS[form], 0
    while spell(unit) in known:
        unit += 1
    return unit
