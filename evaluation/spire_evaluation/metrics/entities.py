"""NER sequence F1 as tower-eval defines it, and a variant that looks for each word where it is.

tower-eval reads the tags alone off an answer like `[("Anna", "B-Person"), ("slept", "O")]`, trims
or pads them with O to the length of the reference, compares position by position, and takes the
micro F1 of whole entities over the corpus (conlleval). One word too many therefore shifts every
entity after it. The aligned variant puts each tag on the word it was given for; the difference
between the two says how much of a loss is a matter of length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from spire_dsu.errors import InputError
from spire_evaluation.metrics.base import Measured, MetricConfig
from spire_evaluation.segments import Joined, Segment
from spire_evaluation.significance import Float64

OUTSIDE = "O"
COLUMNS = ("correct", "predicted", "reference")

_TUPLE = re.compile(r'\("(.*?)", "(.*?)"\)')  # tower-eval's own expression: the definition
_TAG = re.compile(r".-(.+)", re.DOTALL)  # a prefix of one character, a dash, a type

Chunk = tuple[int, int, str]  # first token, token behind the last, type


@dataclass(frozen=True, slots=True)
class Tagged:
    """Words and their tags; the words may be unknown (None), as many as there are tags if not."""

    tokens: tuple[str, ...] | None
    tags: tuple[str, ...]


def f1(sums_RM: Float64) -> Float64:
    """100 x 2 correct / (predicted + reference); 0 where there is no entity at all."""
    return 200.0 * sums_RM[:, 0] / np.maximum(sums_RM[:, 1] + sums_RM[:, 2], 1.0)


def ner(joined: Joined, config: MetricConfig) -> Measured:
    """Micro F1 of entities over the corpus, in points; see the module for the definition.

    A reference holds `tags` (and `tokens`), or tower-eval's list of tuples as its `text`. An empty
    hypothesis is all O.

    Facts: `f1_by_type`; `aligned_f1` and `length_loss` (aligned less exact), where the references
    know their words; `wrong_length`, the answers with more or fewer tags than words;
    `unreadable`, the answers that hold no tuple at all.

    Raises:
        InputError: a reference has no tags.
    """
    types = frozenset(config.entity_types)
    references = [_reference(segment, types) for segment in joined.references]
    answers = [parse_tuples(text, types) for text in joined.hypotheses]
    pairs = list(zip(references, answers, strict=True))
    exact = [(r.tags, fit(a.tags, len(r.tags))) for r, a in pairs]
    counts_NM = np.array([_counts(r, a) for r, a in exact], dtype=np.float64)
    score = float(f1(counts_NM.sum(0)[None])[0])
    facts: dict[str, JsonValue] = {
        "f1_by_type": {kind: _f1_of(exact, kind) for kind in config.entity_types},
        "wrong_length": sum(len(r.tags) != len(a.tags) for r, a in pairs),
        "unreadable": sum(not a.tags for a in answers),
    }
    if all(r.tokens is not None for r in references):
        aligned = [_counts(r.tags, align(r.tokens or (), a)) for r, a in pairs]
        found = float(f1(np.array(aligned, dtype=np.float64).sum(0)[None])[0])
        facts |= {"aligned_f1": found, "length_loss": found - score}
    return Measured(
        metric="ner",
        score=score,
        unit="points",
        higher_is_better=True,
        reads_references=False,  # but their tags
        counts=counts_NM,
        columns=COLUMNS,
        formula=f1,
        test="bootstrap",
        signature=f"ner|f1:chunk-micro|length:trim-pad|types:{'+'.join(config.entity_types)}",
        facts=facts,
        versions={},
    )


def parse_tuples(text: str, types: frozenset[str]) -> Tagged:
    """Words and tags of `("word", "tag")` tuples, in order; a tag of another type is O."""
    found = _TUPLE.findall(text)
    return Tagged(tuple(token for token, _ in found), tuple(_known(tag, types) for _, tag in found))


def fit(tags: Sequence[str], length: int) -> tuple[str, ...]:
    """tower-eval's rule for an answer of another length: cut off the end, or filled up with O."""
    return tuple(tags[:length]) + (OUTSIDE,) * (length - len(tags))


def align(tokens: Sequence[str], answer: Tagged) -> tuple[str, ...]:
    """The answer's tags on the reference's words, by the least edit distance between the words.

    A word that the answer lacks is O; a word that the reference lacks is dropped with its tag; a
    word that was written otherwise keeps its tag.
    """
    from rapidfuzz.distance import Levenshtein

    placed = [OUTSIDE] * len(tokens)
    for step in Levenshtein.opcodes(list(tokens), list(answer.tokens or ())):
        if step.tag in ("equal", "replace"):
            placed[step.src_start : step.src_end] = answer.tags[step.dest_start : step.dest_end]
    return tuple(placed)


def chunks(tags: Sequence[str]) -> set[Chunk]:
    """The entities of a tag sequence, as conlleval delimits them.

    One starts where a tag follows O or another type, at B and S, and after E and S. So an I that
    follows O or another type opens one.
    """
    found: set[Chunk] = set()
    start = 0
    before = OUTSIDE
    for place, tag in enumerate((*tags, OUTSIDE)):
        if before != OUTSIDE and (tag == OUTSIDE or _starts(before, tag)):
            found.add((start, place, before[2:]))
        if tag != OUTSIDE and (before == OUTSIDE or _starts(before, tag)):
            start = place
        before = tag
    return found


def _starts(before: str, tag: str) -> bool:
    """Whether an entity begins at a tag, where the tag before it is inside of one."""
    return before[2:] != tag[2:] or tag[0] in "BS" or before[0] in "ES"


def _counts(reference: Sequence[str], answer: Sequence[str]) -> tuple[int, int, int]:
    true, given = chunks(reference), chunks(answer)
    return len(true & given), len(given), len(true)


def _f1_of(pairs: Sequence[tuple[Sequence[str], Sequence[str]]], kind: str) -> float:
    keep = frozenset({kind})
    counts = [
        _counts([_known(tag, keep) for tag in true], [_known(tag, keep) for tag in given])
        for true, given in pairs
    ]
    return float(f1(np.array(counts, dtype=np.float64).sum(0)[None])[0])


def _known(tag: str, types: frozenset[str]) -> str:
    """The tag, or O where its type is none of the accepted ones.

    tower-eval takes the third character on for the type, whatever the second is, and fails later
    where that is no dash; here such a tag is O.
    """
    match = _TAG.fullmatch(tag)
    return tag if match and match[1] in types else OUTSIDE


def _reference(segment: Segment, types: frozenset[str]) -> Tagged:
    if segment.tags is not None:
        return Tagged(segment.tokens, tuple(_known(tag, types) for tag in segment.tags))
    tagged = parse_tuples(segment.text, types)
    if not tagged.tags:
        raise InputError(
            f"reference {segment.id!r} has neither tags nor a list of tuples: {segment.text[:60]!r}"
        )
    return tagged
