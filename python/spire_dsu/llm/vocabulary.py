"""Which token a unit is: `token = first_unit_token + unit`, found and checked in a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import SpireError
from spire_dsu.types import FIRST_PRIVATE_USE, Int32

FIRST_RELEASED_TOKEN = 32_005
"""Token of unit 0 in the released Spire models: 32,000 Llama pieces and five specials before it."""

PADDED_TO = 64
"""The released embedding tables have a multiple of this many rows (37,007 tokens: 37,056 rows)."""

FORMS: dict[str, Callable[[int], str]] = {
    "extra_id": "<extra_id_{}>".format,
    "pua": lambda unit: chr(FIRST_PRIVATE_USE + unit),
}
"""How a unit is spelled: as the paper prints it, or as the released tokenizers know it."""


class VocabularyError(SpireError):
    """A tokenizer, a model and a codebook that do not belong together."""


@dataclass(frozen=True, slots=True)
class UnitVocabulary:
    """The place of the units in a language model's vocabulary.

    Attributes:
        first_unit_token: token id of unit 0.
        num_units: how many units there are (K of the codebook).
        form: how the tokenizer spells them, a key of `FORMS`.
        num_tokens: tokens the tokenizer knows; rows of the model's tables from here on are padding.
    """

    first_unit_token: int
    num_units: int
    form: str
    num_tokens: int

    @classmethod
    def of(cls, tokenizer: Any) -> UnitVocabulary:
        """Finds the units in a tokenizer of transformers.

        Raises:
            VocabularyError: it has none, or their ids are not consecutive.
        """
        ids: dict[str, int] = tokenizer.get_vocab()
        form = next((name for name, spell in FORMS.items() if spell(0) in ids), None)
        if form is None:
            raise VocabularyError(
                f"{tokenizer.name_or_path}: the tokenizer has no unit tokens, neither "
                "'<extra_id_0>' nor U+F0000: add them with 'spire-dsu train extend-vocab'"
            )
        spell = FORMS[form]
        first, unit = ids[spell(0)], 0
        while (token := ids.get(spell(unit))) is not None:
            if token != first + unit:
                raise VocabularyError(
                    f"{tokenizer.name_or_path}: unit {unit} is token {token}, not {first + unit}: "
                    "unit tokens must be consecutive"
                )
            unit += 1
        return cls(first, unit, form, max(ids.values()) + 1)

    @classmethod
    def without_units(cls, tokenizer: Any) -> UnitVocabulary:
        """The vocabulary of a tokenizer as text alone has it: no token is a unit."""
        size = max(tokenizer.get_vocab().values()) + 1
        return cls(size, 0, "extra_id", size)

    def spell(self, unit: int) -> str:
        """The text of a unit, as the tokenizer knows it."""
        return FORMS[self.form](unit)

    def tokens(self, units: npt.ArrayLike) -> Int32:
        """Token ids of units.

        Args:
            units: integers [U], each below `num_units`.

        Returns:
            int32 [U].

        Raises:
            VocabularyError: a unit is outside of the vocabulary: another codebook made it.
        """
        units_U = np.asarray(units)
        if units_U.size and not 0 <= int(units_U.min()) <= int(units_U.max()) < self.num_units:
            raise VocabularyError(
                f"units from {int(units_U.min())} to {int(units_U.max())} do not fit a vocabulary "
                f"of {self.num_units} units: another codebook made them"
            )
        tokens_U: Int32 = units_U.astype(np.int32) + np.int32(self.first_unit_token)
        return tokens_U

    def is_unit(self, tokens: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """bool [...], which of the token ids are units."""
        ids = np.asarray(tokens)
        end = self.first_unit_token + self.num_units
        return np.asarray((ids >= self.first_unit_token) & (ids < end))
