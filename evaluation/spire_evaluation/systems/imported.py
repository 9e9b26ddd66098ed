"""Answers of programs that cannot run here: SALMONN, Spirit-LM, the project's CTC model, anyone.

A file holds JSON lines, one for each item of the test set and no other, in any order:

    {"id": "121-121726-0000", "text": "a made up line"}

`id` is the item's, as OUT/references holds it; other keys are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spire_dsu.errors import ConfigError
from spire_dsu.files import sha256_of_file
from spire_evaluation.config import ImportedConfig
from spire_evaluation.items import TASKS, Prediction, TestSet
from spire_evaluation.segments import join, read_segments
from spire_evaluation.speech import UnitTable
from spire_evaluation.systems.base import Answered, Progress, System


class Imported(System):
    """Answers that are there already."""

    tasks = frozenset(TASKS)
    config: ImportedConfig

    def __init__(self, config: ImportedConfig, out: Path) -> None:
        super().__init__(config, out)
        self._found: dict[str, list[Prediction]] = {}

    def chosen(self, tests: Sequence[TestSet]) -> list[TestSet]:
        """The tests that it has a file for.

        Raises:
            ConfigError: a file is of a test set that is not there.
        """
        keys = {test.key for test in tests}
        for key in self.config.files:
            if key not in keys:
                raise ConfigError(f"system {self.name!r}: a file for {key!r}, which is no test set")
        return [test for test in super().chosen(tests) if test.key in self.config.files]

    def check(self, tests: Sequence[TestSet]) -> None:
        """Reads the files and joins them to the items."""
        for test in tests:
            path = self.config.files[test.key]
            joined = join(test.references(), read_segments(path), str(path))
            pairs = zip(test.items, joined.hypotheses, strict=True)
            self._found[test.key] = [Prediction(item.id, text.strip()) for item, text in pairs]

    def answer(
        self, tests: Sequence[TestSet], units: UnitTable, progress: Progress
    ) -> list[Answered]:
        """See `System`."""
        del units, progress
        return [Answered("", test.key, self._found[test.key]) for test in tests]

    def provenance(self) -> dict[str, Any]:
        """See `System`."""
        files = self.config.files
        return {"files_sha256": {key: sha256_of_file(files[key]) for key in sorted(files)}}
