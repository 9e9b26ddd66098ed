"""`evaluate`: test sets and systems in; predictions, scores and a report out.

    OUT/config.json                     the resolved configuration
    OUT/references/TEST.jsonl           what `spire-dsu eval score --refs` reads
    OUT/units/                          a conversion of the recordings that had no units yet
    OUT/answers/SYSTEM/                 what each system remembers of its answers
    OUT/predictions/SYSTEM/TEST.jsonl   what `spire-dsu eval score --hyps` reads
    OUT/scores/TEST.json                scores, intervals, comparisons
    OUT/robustness/                     recordings with noise, or at another speed
    OUT/harness/SYSTEM.yaml             for lm-evaluation-harness
    OUT/report.{json,md,html}

Everything that can be wrong is looked for before the first answer. A killed run goes on; a finished
one writes the same bytes again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spire_dsu.config import write_resolved
from spire_dsu.errors import ConfigError
from spire_evaluation.config import CascadeConfig, RunConfig
from spire_evaluation.harness import write_harness
from spire_evaluation.items import SPEECH, TestSet, write_predictions, write_references
from spire_evaluation.report import write_report
from spire_evaluation.results import score_all
from spire_evaluation.robustness import variants
from spire_evaluation.speech import UnitTable, load_units
from spire_evaluation.systems import Answered, System, make_systems
from spire_evaluation.systems.base import Progress, file_name
from spire_evaluation.tasks import read_tests

Say = Callable[[str], None]


def _silent(text: str) -> None:
    del text


def evaluate(config: RunConfig, *, only: Sequence[str] = (), say: Say = _silent) -> Path:
    """Runs an evaluation to its report.

    Args:
        config: what to answer, by whom, and where to write.
        only: names of systems that answer now, on this machine or GPU; nothing is scored, and a
            run without `only` finds their answers. Empty for all of it.
        say: told what is going on, line by line.

    Returns:
        The report, OUT/report.md; with `only`, OUT/predictions.

    Raises:
        SpireError: the configuration, a file, a model or an engine; before anything is generated,
            unless the engine itself gives up.
    """
    out = config.out
    systems = _systems(config, only)
    tests, folders = _tests(config)
    chosen = {system.name: system.chosen(tests) for system in systems}
    for system in systems:
        if not chosen[system.name]:
            raise ConfigError(f"system {system.name!r} can answer none of the test sets")
        system.check(chosen[system.name])
    write_resolved(config, out / "config.json")
    for test in tests:
        write_references(out / "references" / f"{file_name(test.key)}.jsonl", test)
    units = _units(config, systems, tests, folders, say)
    answers = _answer(systems, chosen, units, out, say)
    if only:
        return out / "predictions"
    if config.harness:
        write_harness(config.systems, out / "harness")
    results = score_all(config, tests, answers, say)
    provenance = _provenance(config, systems, tests, units)
    return write_report(config, tests, results, units, provenance)


def _systems(config: RunConfig, only: Sequence[str]) -> list[System]:
    """The systems that answer; models of the others need not be there yet."""
    known = [system.name for system in config.systems]
    for name in only:
        if name not in known:
            raise ConfigError(f"no system {name!r}: there are {', '.join(map(repr, known))}")
    wanted = set(only or known)
    parts = {
        part
        for system in config.systems
        if system.name in wanted and isinstance(system, CascadeConfig)
        for part in (system.asr, system.mt)
    }
    made = [system for system in config.systems if system.name in wanted | parts]
    return [s for s in make_systems(made, config.out / "answers") if s.name in wanted]


def _tests(config: RunConfig) -> tuple[list[TestSet], dict[str, Path]]:
    """The test sets, and the finished conversions of those that name one."""
    tests: list[TestSet] = []
    folders: dict[str, Path] = {}
    for each in config.tests:
        found = read_tests(each)
        if each.units is not None:
            folders |= {test.key: each.units for test in found}
        for test in found:
            tests += [test, *variants(test, each, config.out / "robustness")]
    keys = [test.key for test in tests]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"test sets that are there twice: {', '.join(twice)}")
    return tests, folders


def _units(
    config: RunConfig,
    systems: Sequence[System],
    tests: Sequence[TestSet],
    folders: dict[str, Path],
    say: Say,
) -> UnitTable:
    # All spoken tests, whoever answers which: the conversion is then the same for every `only`.
    wanted = [t for t in tests if t.task in SPEECH] if any(s.needs_units for s in systems) else []
    if wanted:
        say(f"units of {len(wanted)} test sets")
    return load_units(wanted, folders, config.speech, config.out / "units")


def _answer(
    systems: Sequence[System],
    chosen: dict[str, list[TestSet]],
    units: UnitTable,
    out: Path,
    say: Say,
) -> dict[str, list[Answered]]:
    answers: dict[str, list[Answered]] = {}
    for system in systems:
        tests = chosen[system.name]
        say(f"{system.name}: {sum(len(t.items) for t in tests)} items of {len(tests)} test sets")
        found = system.answer(tests, units, _progress(say))
        for label, key, predictions in found:
            folder = f"{system.name}.{label}" if label else system.name
            path = out / "predictions" / folder / f"{file_name(key)}.jsonl"
            write_predictions(path, predictions)
        answers[system.name] = found
    return answers


def _progress(say: Say) -> Progress:
    """Tells of every tenth of the answers: a log is read by people."""
    told: dict[tuple[str, int], int] = {}

    def progress(name: str, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if told.get((name, total), -1) < tenth:
            told[name, total] = tenth
            say(f"{name}: {done} of {total}")

    return progress


def _provenance(
    config: RunConfig, systems: Sequence[System], tests: Sequence[TestSet], units: UnitTable
) -> dict[str, Any]:
    from importlib.metadata import version

    from spire_dsu.files import sha256_of_file

    folder = config.out / "references"
    return {
        "spire_dsu": version("spire-dsu"),
        "config": config.model_dump(mode="json", exclude={"out"}),
        "references_sha256": {
            test.key: sha256_of_file(folder / f"{file_name(test.key)}.jsonl") for test in tests
        },
        "units": {key: units.facts[key] for key in sorted(units.facts)},
        "systems": {system.name: system.provenance() for system in systems},
    }
