"""How many tokens each stream gives: budgets of groups, divided among what there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spire_dsu.types import Int64
from spire_training.data.settings import Group, PrepareConfig

BINS = 4096
"""Into so many bins the documents of a stream fall by their hash, when it has more than is taken.
Bins below the cut are taken whole; of the one at the cut, what still fits."""


@dataclass
class Available:
    """What a stream has, by bins of the hash that decides what is taken of it.

    Attributes:
        tokens: int64 [BINS].
        documents: int64 [BINS].
    """

    tokens: Int64 = field(default_factory=lambda: np.zeros(BINS, np.int64))
    documents: Int64 = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, choice: int, tokens: int) -> None:
        """Counts a document."""
        self.tokens[bin_of(choice)] += tokens
        self.documents[bin_of(choice)] += 1

    def limited(self, documents: int) -> int:
        """Tokens of at most so many documents, as far as the bins tell; 0 for no limit."""
        if not documents or documents >= int(self.documents.sum()):
            return int(self.tokens.sum())
        cut, left = _cut(self.documents, documents)
        rest = int(self.tokens[cut]) * left // max(1, int(self.documents[cut]))
        return int(self.tokens[:cut].sum()) + rest


@dataclass
class Taken:
    """Decides, document by document, what is taken of a stream.

    Attributes:
        cut_tokens, left_tokens: first bin that is not taken whole, and tokens taken of it.
        cut_documents, left_documents: the same for a limit on documents.
    """

    cut_tokens: int
    left_tokens: int
    cut_documents: int
    left_documents: int

    def takes(self, choice: int, tokens: int) -> bool:
        """Whether a document is taken; asked once for each."""
        place = bin_of(choice)
        if place > self.cut_tokens or place > self.cut_documents:
            return False
        if place == self.cut_documents:
            if not self.left_documents:
                return False
            self.left_documents -= 1
        if place == self.cut_tokens:
            if tokens > self.left_tokens:
                return False
            self.left_tokens -= tokens
        return True

    def holds_out(self, choice: int) -> bool:
        """Whether a held-out document is kept: of a thinned stream as thinly as the others."""
        return bin_of(choice) < min(self.cut_tokens, self.cut_documents)


def bin_of(choice: int) -> int:
    """The bin of a 64-bit hash."""
    return choice * BINS >> 64


def taken(available: Available, quota: int, documents: int) -> Taken:
    """What is taken of a stream: at most `quota` tokens and `documents` (0 for all)."""
    cut_tokens, left_tokens = _cut(available.tokens, quota)
    cut_documents, left_documents = _cut(
        available.documents, documents or int(available.documents.sum())
    )
    return Taken(cut_tokens, left_tokens, cut_documents, left_documents)


def _cut(counts: Int64, quota: int) -> tuple[int, int]:
    """The first bin that a quota does not hold whole, and what it holds of it."""
    ends = np.cumsum(counts)
    cut = int(np.searchsorted(ends, quota, side="right"))
    before = int(ends[cut - 1]) if cut else 0
    return cut, quota - before


def quotas(config: PrepareConfig, available: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Tokens that each stream gives.

    Args:
        config: for the groups.
        available: group -> stream -> tokens that it has.

    Returns:
        stream -> tokens; never more than it has.
    """
    made: dict[str, int] = {}
    for name, wanted in _wanted(config, available).items():
        made |= _divided(config.groups[name], available[name], wanted)
    return made


def _wanted(config: PrepareConfig, available: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Tokens that each group gives."""
    has = {name: sum(streams.values()) for name, streams in available.items()}
    ratios = {name: config.groups[name].ratio for name in available}
    if any(ratios.values()):
        whole = sum(ratios.values())
        most = min(int(has[name] * whole / ratios[name]) for name in has)
        total = config.tokens or most
        return {name: min(has[name], int(total * ratios[name] / whole)) for name in has}
    return {name: min(has[name], config.groups[name].tokens or has[name]) for name in available}


def _divided(group: Group, streams: Mapping[str, int], wanted: int) -> dict[str, int]:
    if group.split == "proportional":
        total = sum(streams.values())
        return {name: wanted * has // total if total else 0 for name, has in streams.items()}
    made: dict[str, int] = {}
    left = wanted
    # The poorest first: what it cannot give is divided among the others.
    for place, (name, has) in enumerate(sorted(streams.items(), key=lambda pair: pair[1])):
        made[name] = min(has, left // (len(streams) - place))
        left -= made[name]
    return made
