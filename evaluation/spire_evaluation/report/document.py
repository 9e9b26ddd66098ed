"""What there is to report, as plain data: the content of report.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spire_evaluation.config import RunConfig
from spire_evaluation.items import TestSet
from spire_evaluation.report.audits import cascades, curves, lengths, unit_rates
from spire_evaluation.report.tables import data_seen, paper_tables
from spire_evaluation.results import Results
from spire_evaluation.speech import UnitTable

FORMAT = "spire-eval-report"
Json = dict[str, Any]


def build(
    config: RunConfig,
    tests: Sequence[TestSet],
    results: Results,
    units: UnitTable,
    provenance: Json,
) -> Json:
    """The document.

    Returns:
        tables: those of the paper that a system of this run has a number for.
        scores: test set -> systems and pairs, as `spire-dsu eval compare` gives them.
        cascades, lengths, curves, units: the audits.
        provenance: what decided all of it.
    """
    return {
        "format": FORMAT,
        "version": 1,
        "systems": [system.name for system in config.systems],
        "tests": {
            test.key: {
                "task": test.task,
                "src": test.src,
                "tgt": test.tgt,
                "items": len(test.items),
            }
            for test in tests
        },
        "tables": paper_tables(config, results),
        "data_seen": data_seen(config),
        "scores": results.tests,
        "cascades": cascades(tests, results),
        "lengths": lengths(tests, results),
        "curves": curves(tests, results),
        "units": unit_rates(tests, results, units),
        "provenance": provenance,
    }
