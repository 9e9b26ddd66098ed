"""Which utterances of a corpus are taken, and in what words (paper, appendix A.1).

Rules that look at one utterance are functions. Caps look at all: `caps` reads the corpus once and
keeps a few numbers per group that is over its cap, and a second reading asks it. What is chosen
depends on the seed and the ids, not on the order of the corpus.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spire_training.data.hashing import hash_of

PUNCTUATION = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
GARBAGE = frozenset({"<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>"})
FUZZY_DISTANCE = 3
"""Letters by which a sentence may differ from one of FLORES and still be it."""


def gigaspeech_text(text: str) -> str | None:
    """A transcript of GigaSpeech with punctuation for its tags, in lower case.

    Returns:
        The text, or None for an utterance with a garbage tag or without a word: GigaSpeech says to
        drop those; the paper does not mention them.
    """
    words: list[str] = []
    for word in text.split():
        if word in GARBAGE:
            return None
        mark = PUNCTUATION.get(word)
        if mark is None:
            words.append(word.lower())
        elif words:
            words[-1] += mark
    return " ".join(words) or None


def long_enough(seconds: float, minimum: float) -> bool:
    """Whether an utterance lasts at least `minimum` seconds."""
    return seconds >= minimum


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many members of each group; those with the smallest hashes are taken.

    Attributes:
        cutoffs: hash of a group that is over its cap -> largest hash of a member that is taken.
    """

    cutoffs: dict[int, int]

    def takes(self, group: int, member: int) -> bool:
        """Whether a member (both by their hash) is within the cap."""
        return member <= self.cutoffs.get(group, member)


def cap(pairs: Iterable[tuple[int, int]], limit: int) -> Cap:
    """Finds what is taken of groups that have over `limit` different members.

    Args:
        pairs: (hash of the group, hash of the member), in any order, with repetitions; 16 bytes
            each are held.
        limit: members of a group that are taken.
    """
    flat = np.fromiter((number for pair in pairs for number in pair), np.uint64)
    pairs_N2 = np.unique(flat.reshape(-1, 2), axis=0)  # sorted by group, then by member
    groups = pairs_N2[:, 0]
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]][: groups.size])
    sizes = np.diff(np.r_[starts, groups.size])
    over = starts[sizes > limit]
    last = pairs_N2[over + limit - 1, 1]
    return Cap(dict(zip(groups[over].tolist(), last.tolist(), strict=True)))


def speaker_pair(seed: int, speaker: str, utterance: str) -> tuple[int, int]:
    """Group and member of "at most n transcripts per speaker" (MLS: 13)."""
    return hash_of("speaker", speaker), hash_of(seed, "utterance", utterance)


def transcript_pair(seed: int, text: str, speaker: str) -> tuple[int, int]:
    """Group and member of "at most n speakers per transcript" (CommonVoice: 4)."""
    return hash_of("text", " ".join(text.lower().split())), hash_of(seed, "speaker", speaker)


class Sentences:
    """Sentences of a test set, to keep utterances of them out of the training data.

    FLEURS reads FLORES's sentences aloud; no list says which, so they are matched by their text:
    without punctuation, case and repeated spaces, up to `FUZZY_DISTANCE` letters apart.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._by_length: dict[int, set[str]] = {}
        for line in lines:
            plain = plain_text(line)
            if plain:
                self._by_length.setdefault(len(plain), set()).add(plain)

    def __len__(self) -> int:
        return sum(map(len, self._by_length.values()))

    def holds(self, text: str) -> bool:
        """Whether the text is one of the sentences, or nearly."""
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import extractOne

        plain = plain_text(text)
        if plain in self._by_length.get(len(plain), ()):
            return True
        near = [
            sentence
            for length in range(len(plain) - FUZZY_DISTANCE, len(plain) + FUZZY_DISTANCE + 1)
            for sentence in self._by_length.get(length, ())
        ]
        found = extractOne(plain, near, scorer=Levenshtein.distance, score_cutoff=FUZZY_DISTANCE)
        return found is not None


def plain_text(text: str) -> str:
    """Lower case, without punctuation, one space between words."""
    letters = (" " if unicodedata.category(c)[0] in "PZC" else c for c in text.lower())
    return re.sub(r"\s+", " ", "".join(letters)).strip()
