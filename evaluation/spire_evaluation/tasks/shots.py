"""Worked examples for few-shot prompts of translation."""

from __future__ import annotations

from spire_dsu.errors import ManifestError
from spire_evaluation.config import TestConfig
from spire_evaluation.tasks.text import flores_lines
from spire_evaluation.tasks.tower import rows_of

_MOST = 64


def read_shots(config: TestConfig, src: str, tgt: str) -> tuple[tuple[str, str], ...]:
    """(source, translation) pairs, never of the test split: named ones, or FLORES's dev split.

    Examples of a named file are JSON lines with `source` and `text`, and `src` and `tgt` where the
    file holds several pairs of languages. There are none where nothing is named or lies beside.
    """
    if config.shots is not None:
        rows = rows_of(config.shots, ("source", "text"))
        return tuple(
            (row["source"], row["text"])
            for row in rows
            if row.get("src", src) == src and row.get("tgt", tgt) == tgt
        )[:_MOST]
    if config.kind != "flores":
        return ()
    try:
        return tuple(flores_lines(config.folder, "dev", src, tgt)[:_MOST])
    except ManifestError:  # devtest was unpacked alone; whoever needs examples will say so
        return ()
