"""Speech translation in two steps, and whose the errors are.

The metrics' source is the gold transcript, for every system alike, so a cascade is not judged
against what it misheard. With `attribution` the gold transcripts are translated as well: what is
lost between the two translations is lost by the ASR.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spire_dsu.errors import ConfigError
from spire_evaluation.config import CascadeConfig
from spire_evaluation.items import Item, Prediction, TestSet
from spire_evaluation.speech import UnitTable
from spire_evaluation.systems.base import Answered, Progress, System

_HEARD = "heard"
_GOLD = "gold"


class Cascade(System):
    """One system's transcripts, translated by another, or by itself."""

    tasks = frozenset({"st"})
    config: CascadeConfig

    def __init__(self, config: CascadeConfig, out: Path, asr: System, mt: System) -> None:
        super().__init__(config, out)
        for system, task in ((asr, "asr"), (mt, "mt")):
            if task not in system.tasks:
                raise ConfigError(f"cascade {config.name!r}: {system.name!r} does no {task}")
        # Files of their own, so that the parts can answer test sets of their own as well.
        self._asr = type(asr)(asr.config, out / "asr")
        self._mt = type(mt)(mt.config, out / "mt")
        self.needs_units = self._asr.needs_units

    def check(self, tests: Sequence[TestSet]) -> None:
        """What its parts say."""
        spoken = {test.src: test for test in tests}
        self._asr.check([_as_asr(test) for test in spoken.values()])
        self._mt.check([_as_mt(test, test.key, {}) for test in tests])

    def answer(
        self, tests: Sequence[TestSet], units: UnitTable, progress: Progress
    ) -> list[Answered]:
        """See `System`; also its transcripts, and the translations of the gold ones."""
        heard = self._transcripts(tests, units, progress)
        rounds = [_as_mt(test, f"{_HEARD}/{test.key}", heard[test.key]) for test in tests]
        if self.config.attribution:
            gold = {t.key: {i.id: i.source or "" for i in t.items} for t in tests}
            rounds += [_as_mt(test, f"{_GOLD}/{test.key}", gold[test.key]) for test in tests]
        answered = []
        for made in self._mt.answer(rounds, units, progress):
            which, _, key = made.key.partition("/")
            answered.append(Answered("gold" if which == _GOLD else "", key, made.predictions))
        for test in tests:
            texts = [Prediction(i.id, heard[test.key][i.id]) for i in test.items]
            answered.append(Answered("transcripts", test.key, texts))
        return answered

    def provenance(self) -> dict[str, Any]:
        """See `System`."""
        return {
            "config": self.config.model_dump(mode="json", exclude={"tests"}),
            "asr": self._asr.provenance(),
            "mt": self._mt.provenance(),
        }

    def _transcripts(
        self, tests: Sequence[TestSet], units: UnitTable, progress: Progress
    ) -> dict[str, dict[str, str]]:
        """key -> item -> transcript. A recording is heard once, however many tests share it."""
        first: dict[tuple[str, str], tuple[TestSet, Item]] = {}
        for test in tests:
            for item in test.items:
                first.setdefault(_recording(test, item), (test, item))
        rounds: list[TestSet] = []
        places: dict[str, list[tuple[str, str]]] = {}
        for src in dict.fromkeys(test.src for test in tests):
            key = f"{_HEARD}/{src}"
            places[key] = [place for place in first if place[0] == src]
            owners = [first[place] for place in places[key]]
            items = [dataclasses.replace(own[1], id=str(n)) for n, own in enumerate(owners)]
            rounds.append(TestSet(key, "asr", src, src, tuple(items)))
            if self._asr.needs_units:
                sources = {str(n): (own[0].key, own[1].id) for n, own in enumerate(owners)}
                units.derive(key, sources, owners[0][0].key)
        texts: dict[tuple[str, str], str] = {}
        for made in self._asr.answer(rounds, units, progress):
            for place, prediction in zip(places[made.key], made.predictions, strict=True):
                texts[place] = prediction.text
        return {
            test.key: {item.id: texts[_recording(test, item)] for item in test.items}
            for test in tests
        }


def _recording(test: TestSet, item: Item) -> tuple[str, str]:
    source = item.speech.source if item.speech is not None else f"{test.key}/{item.id}"
    return test.src, source


def _as_asr(test: TestSet) -> TestSet:
    return dataclasses.replace(test, task="asr", tgt=test.src)


def _as_mt(test: TestSet, key: str, texts: Mapping[str, str]) -> TestSet:
    items = tuple(
        dataclasses.replace(item, source=texts.get(item.id, ""), speech=None) for item in test.items
    )
    return dataclasses.replace(test, key=key, task="mt", items=items)
