"""The paper's tables, as data: what each cell is a score of, and the number that is printed."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from pydantic import Field

from spire_dsu.config import Config, validate
from spire_evaluation.metrics import Metric


class Column(Config):
    """A column: the mean of one metric over test sets, in percent or points as printed."""

    name: str
    metric: Metric
    tests: list[str] = Field(min_length=1)


class Row(Config):
    """A printed row; `id` is what a system's `published` names."""

    id: str
    name: str
    group: str | None = None
    values: list[float | None]


class Suspect(Config):
    """A cell that contradicts another table, and why it is thought a slip of the pen."""

    row: str
    column: str
    why: str


class Table(Config):
    """One of the paper's tables of results."""

    number: int
    title: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str] = Field(default_factory=list)
    suspect: list[Suspect] = Field(default_factory=list)


class DataSeen(Config):
    """Table 8: model, base model, and which data each stage saw."""

    number: int
    title: str
    columns: list[str]
    rows: list[list[str | bool]]


class Published(Config):
    """All of it."""

    source: str
    data_seen: DataSeen
    tables: list[Table]


@cache
def published() -> Published:
    """The paper's tables."""
    name = "published.json"
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return validate(json.loads(text), Published, name)
