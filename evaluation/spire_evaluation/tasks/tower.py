"""tower-eval's test sets of post-editing and entities, in its layout of raw data.

TASK/SUBTASK/test.jsonl below the folder, below its "raw_data", or below the tarball's "data".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spire_dsu.corpora.layout import first_of
from spire_dsu.errors import InputError
from spire_dsu.textio import printable, read_lines
from spire_evaluation.config import TestConfig
from spire_evaluation.items import Item

_ROOTS = ("", "raw_data", "data/raw_data", "TowerEval-Data-v0.1/data/raw_data")
_PAIR = re.compile(r'\("(.*?)", "(.*?)"\)')


def ape(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """NLLB-3B's translations of WMT23, to be post-edited; the reference is `ref`, or `pe`."""
    rows = rows_of(_file(config, "ape", f"nllb_3b_wmt23.{src}-{tgt}"), ("src", "mt"))
    items = []
    for number, row in enumerate(rows, start=1):
        reference = row.get("ref", row.get("pe"))
        if reference is None:
            raise InputError(f"ape {src}-{tgt}: row {number} has neither ref nor pe")
        items.append(Item(str(number), reference, row["src"], draft=row["mt"]))
    return items


def ner(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """MultiCoNER 2023 of one language: a list of tokens, and pairs of token and tag."""
    del tgt
    path = _file(config, "ner", f"multiconer2023.{src}")
    items = []
    for number, row in enumerate(rows_of(path, ("input", "answer")), start=1):
        tokens, tags = _pairs(row["answer"])
        if not tags:
            raise InputError(f"{printable(path)}: row {number}: no pair in {row['answer'][:60]!r}")
        items.append(
            Item(str(number), row["answer"], row["input"], tokens=tuple(tokens), tags=tuple(tags))
        )
    return items


def rows_of(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """The objects of a file of JSON lines; each value as text.

    Raises:
        InputError: a line is no object, or lacks a key; names file and line.
    """
    rows = []
    for number, line in read_lines(path):
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise InputError(f"{printable(path)}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not set(required) <= row.keys():
            raise InputError(f"{printable(path)}:{number}: lacks one of {', '.join(required)}")
        rows.append(
            {
                key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                for key, value in row.items()
                if value is not None
            }
        )
    return rows


def _file(config: TestConfig, task: str, subtask: str) -> Path:
    roots = [config.folder / root for root in _ROOTS]
    places = [root / task / subtask for root in roots] + [config.folder / subtask]
    return first_of(*(place / "test.jsonl" for place in places))


def _pairs(answer: str) -> tuple[list[str], list[str]]:
    found = _PAIR.findall(answer)
    return [token for token, _ in found], [tag for _, tag in found]
