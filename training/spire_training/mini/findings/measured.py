"""What was measured: scores and paired comparisons out of the report of `spire-dsu eval run`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spire_dsu.errors import InputError
from spire_training.mini.findings.claims import CASCADE, CLEAN, COVOST, FULL, MT, ST, WMT

FORMAT = "spire-eval-report"
LOWER_IS_BETTER = ("wer",)

FIGURES: dict[str, tuple[str, tuple[str, ...], str]] = {
    **{
        f"asr_wer_{name.replace('-', '_')}": ("wer", CLEAN, name)
        for name in (
            *(FULL, "spire-base", "tower-full"),
            *("hubert-ctc", "spire-no-blocks", "spire-no-pseudo"),
        )
    },
    **{
        f"asr_wer_{place}_{name.replace('-', '_')}": ("wer", (test,), name)
        for place, test in (
            *(("other", "librispeech/test-other"), ("fleurs", "fleurs/en")),
            ("voxpopuli", "voxpopuli/en"),
        )
        for name in (FULL, "tower-full", "hubert-ctc")
    },
    **{
        f"mt_spbleu_{name.replace('-', '_')}": ("spbleu", MT, name)
        for name in (FULL, "tower-instruct", "tower-full", "spire-no-blocks", "spire-no-pseudo")
    },
    "mt_spbleu_wmt23_spire_full": ("spbleu", WMT, FULL),
    "mt_spbleu_wmt23_tower_instruct": ("spbleu", WMT, "tower-instruct"),
    **{
        f"st_direct_spbleu_{name.replace('-', '_')}": ("spbleu", ST, name)
        for name in (FULL, "tower-full", "spire-no-blocks", "spire-no-pseudo")
    },
    "st_direct_spbleu_covost2_spire_full": ("spbleu", COVOST, FULL),
    "st_direct_spbleu_covost2_spire_no_pseudo": ("spbleu", COVOST, "spire-no-pseudo"),
    "st_cascade_spbleu_spire_full": ("spbleu", ST, CASCADE),
    "st_cascade_spbleu_covost2_spire_full": ("spbleu", COVOST, CASCADE),
}
"""Name -> metric, the test sets whose mean it is, system. WER as a fraction, spBLEU of 100."""

MINUTES, CLOCK = "minutes", "clock"
"""The figure of how long everything took, and the line of times.tsv that says so by the clock."""


@dataclass(frozen=True, slots=True)
class Score:
    """A system on a test set, with its bootstrap interval; WER as a fraction, others of 100."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much worse one system is than another on a test set, under the same draws.

    Attributes:
        worse: by how much `system` is worse, in points (WER in points of percent); negative is
            better.
        low, high: interval of that; the wider one of resampling utterances and, where the speakers
            are known, speakers.
        p_value: two-sided; the larger one of the two.
    """

    worse: float
    low: float
    high: float
    p_value: float


class Report:
    """Scores and pairs by name, of one `report.json`."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._scores: dict[str, Any] = document["scores"]
        self.tests: dict[str, Any] = document["tests"]
        self.systems: list[str] = document["systems"]

    def score(self, metric: str, test: str, system: str) -> Score | None:
        """A score, or None where the system did not answer the test set."""
        found = self._scores.get(test, {}).get("systems", {}).get(metric, {}).get(system)
        if found is None:
            return None
        return Score(found["score"], found["interval"]["low"], found["interval"]["high"])

    def mean(self, metric: str, tests: Sequence[str], system: str) -> float | None:
        """The mean over test sets, as the paper takes it; None unless all are there."""
        found = [self.score(metric, test, system) for test in tests]
        values = [score.value for score in found if score is not None]
        return sum(values) / len(values) if len(values) == len(tests) else None

    def compare(self, metric: str, test: str, system: str, other: str) -> Comparison | None:
        """The paired comparison of two systems, or None where one of them did not answer."""
        for pair in self._scores.get(test, {}).get("pairs", []):
            if pair["metric"] == metric and {pair["first"], pair["second"]} == {system, other}:
                return _comparison(pair, system)
        return None

    def all_scores(self) -> Iterator[tuple[str, str, str, Score]]:
        """Test set, metric, system and score of everything that was measured."""
        for test, found in self._scores.items():
            for metric, systems in found["systems"].items():
                for name in systems:
                    score = self.score(metric, test, name)
                    assert score is not None
                    yield test, metric, name, score


def read_report(path: Path) -> Report:
    """Reads the `report.json` of `spire-dsu eval run`.

    Raises:
        InputError: no such file, or another one.
    """
    document = read_json(path)
    if document.get("format") != FORMAT:
        raise InputError(f"{path}: format {document.get('format')!r} is not {FORMAT!r}")
    return Report(document)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        InputError: no such file, or no JSON object.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds {type(found).__name__} and no object")
    return found


def read_seconds(path: Path) -> dict[str, float]:
    """Seconds by stage, of lines "stage, tab, seconds"; what was started twice counts twice.

    Stages run side by side, so a line `clock` has what each start took from its begin to its end.

    Raises:
        InputError: a line of another form, by its number. A file that is not there is empty.
    """
    seconds: dict[str, float] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        stage, tab, text = line.partition("\t")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not (stage and tab and 0 <= value < float("inf")):
            raise InputError(f"{path}, line {number}: {line!r} is not a stage, a tab and seconds")
        seconds[stage] = seconds.get(stage, 0.0) + value
    return seconds


def whole_time(seconds: dict[str, float]) -> float:
    """Seconds that everything took: by the clock, or all stages one after the other."""
    return seconds[CLOCK] if CLOCK in seconds else sum(seconds.values())


def figures(report: Report, seconds: dict[str, float]) -> dict[str, float]:
    """The flat figures, those that were measured: see `FIGURES`, and `minutes` of it all."""
    found = {name: report.mean(*of) for name, of in FIGURES.items()}
    made = {name: round(value, 5) for name, value in found.items() if value is not None}
    return made | ({MINUTES: round(whole_time(seconds) / 60, 1)} if seconds else {})


def _comparison(pair: dict[str, Any], system: str) -> Comparison:
    metric = pair["metric"]
    # The report has second less first. Here: how much worse `system` is, in points.
    sign = 1.0 if pair["second"] == system else -1.0
    sign *= 100.0 if metric in LOWER_IS_BETTER else -1.0
    blocks = [pair, *([pair["by_speaker"]] if "by_speaker" in pair else [])]
    edges = [sign * block["interval"][side] for block in blocks for side in ("low", "high")]
    return Comparison(
        worse=sign * pair["difference"],
        low=min(edges),
        high=max(edges),
        p_value=max(block["p_value"] for block in blocks),
    )
