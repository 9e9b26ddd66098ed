"""The paper's findings as data: what must be compared for each, by which rule, and what is printed.

The test sets of a verdict are those of the paper's own numbers. Everything else that was measured
stands in the tables beside, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Rule = Literal["better", "unchanged", "collapses"]

CLEAN = ("librispeech/test-clean",)
ASR = (*CLEAN, "librispeech/test-other", "fleurs/en", "voxpopuli/en")
MT = ("flores/en-de", "flores/de-en", "flores/en-es", "flores/es-en")
WMT = ("wmt23/en-de", "wmt23/de-en", "wmt23/en-es", "wmt23/es-en")
ST = ("fleurs-st/en-de", "fleurs-st/en-es")
COVOST = ("covost2/en-de",)

FULL, CASCADE = "spire-full", "spire-full cascade"


@dataclass(frozen=True, slots=True)
class Check:
    """One system against another on some test sets, by one rule.

    Attributes:
        rule: "better": `system` beats `other`. "unchanged": `system` is not worse than `other`.
            "collapses": `system` keeps at most half of the score of `other`.
        tests: each is compared by itself.
    """

    rule: Rule
    metric: str
    system: str
    other: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Printed:
    """Cells of one column of a table of the paper: row -> value."""

    table: int
    column: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Claim:
    """A finding of the paper.

    Attributes:
        id: a letter.
        says: the finding in one sentence.
        checks: what decides it here.
        paper: what the paper prints for it.
        mostly: decided by the majority of the comparisons instead of by all.
    """

    id: str
    says: str
    checks: tuple[Check, ...]
    paper: tuple[Printed, ...]
    mostly: bool = False


CLAIMS = (
    Claim(
        "a",
        "Continued pre-training with instruction tuning transcribes better than instruction tuning "
        "alone.",
        (Check("better", "wer", FULL, "tower-full", ASR),),
        (
            Printed(9, "ASR WER", {"SPIREFULL": 4.2, "TOWERFULL": 9.5}),
            Printed(12, "LibriSpeech other", {"SPIREFULL": 7.1, "TOWERFULL": 13.8}),
            Printed(12, "FLEURS", {"SPIREFULL": 10.7, "TOWERFULL": 14.3}),
            Printed(12, "VoxPopuli", {"SPIREFULL": 15.8, "TOWERFULL": 40.7}),
        ),
    ),
    Claim(
        "b",
        "The full model translates text within noise of the text model, or better.",
        (Check("unchanged", "spbleu", FULL, "tower-instruct", MT),),
        (
            Printed(3, "en-xx spB", {"SPIREFULL": 39.3, "TOWERINSTRUCT-7B": 38.8}),
            Printed(3, "xx-en spB", {"SPIREFULL": 41.8, "TOWERINSTRUCT-7B": 42.0}),
        ),
    ),
    Claim(
        "c",
        "Without the text instructions translation falls, and transcription does not.",
        (
            Check("better", "spbleu", FULL, "spire-no-blocks", MT),
            Check("unchanged", "wer", "spire-no-blocks", FULL, CLEAN),
        ),
        (
            Printed(9, "MT en-xx C22", {"SPIREFULL": 88.54, "SPIRENOBLOCKS": 82.98}),
            Printed(9, "MT en-xx spB", {"SPIREFULL": 39.3, "SPIRENOBLOCKS": 34.2}),
            Printed(9, "MT xx-en spB", {"SPIREFULL": 41.8, "SPIRENOBLOCKS": 36.1}),
            Printed(9, "ASR WER", {"SPIREFULL": 4.2, "SPIRENOBLOCKS": 4.1}),
        ),
    ),
    Claim(
        "d",
        "Without pseudo-labels direct speech translation collapses, and transcription does not "
        "suffer.",
        (
            Check("collapses", "spbleu", "spire-no-pseudo", FULL, (*COVOST, *ST)),
            Check("unchanged", "wer", "spire-no-pseudo", FULL, CLEAN),
        ),
        (
            Printed(12, "ST en-xx spB", {"SPIREFULL": 27.1, "SPIRENOPSEUDO": 6.8}),
            Printed(9, "ST en-xx C22", {"SPIREFULL": 81.33, "SPIRENOPSEUDO": 62.8}),
            Printed(9, "ASR WER", {"SPIREFULL": 4.2, "SPIRENOPSEUDO": 3.9}),
        ),
    ),
    Claim(
        "e",
        "Transcribing first and translating then beats translating speech directly, by the same "
        "model.",
        (Check("better", "spbleu", CASCADE, FULL, (*ST, *COVOST)),),
        (
            Printed(7, "mean of 9", {"SPIREFULL/cascade": 33.7, "SPIREFULL": 27.1}),
            Printed(6, "en-de spB", {"SPIREFULL/cascade": 31.8, "SPIREFULL": 25.4}),
        ),
    ),
    Claim(
        "f",
        "The full model transcribes better than HuBERT with a CTC head, where language modelling "
        "helps.",
        (Check("better", "wer", FULL, "hubert-ctc", ASR),),
        (
            Printed(2, "LibriSpeech clean", {"SPIREFULL": 4.2, "HuBERT-large+CTC": 4.3}),
            Printed(2, "LibriSpeech other", {"SPIREFULL": 7.1, "HuBERT-large+CTC": 7.6}),
            Printed(2, "FLEURS", {"SPIREFULL": 10.7, "HuBERT-large+CTC": 11.4}),
            Printed(2, "VoxPopuli", {"SPIREFULL": 15.8, "HuBERT-large+CTC": 14.7}),
        ),
        mostly=True,
    ),
)
