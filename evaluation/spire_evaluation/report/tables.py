"""The paper's tables with our numbers beside the printed ones."""

from __future__ import annotations

from typing import Any

from spire_evaluation.config import AnySystem, CascadeConfig, RunConfig
from spire_evaluation.paper import Column, Row, Table, published
from spire_evaluation.results import Results

Json = dict[str, Any]


_DIGITS = {"wer": 1, "spbleu": 1}
"""Decimals that the paper prints, by metric; of the others two."""


def paper_tables(config: RunConfig, results: Results) -> list[Json]:
    """Those tables that a system of this run has a number for, in the paper's order.

    A cell's `value` is the mean over the column's test sets, all of which must be there; `low` and
    `high` are the interval, of a column of one test set.
    """
    made = [_table(table, config, results) for table in published().tables]
    return [table for table in made if any(cell for row in table["rows"] for cell in row["ours"])]


def data_seen(config: RunConfig) -> Json | None:
    """Table 8, where one of its models takes part."""
    table = published().data_seen
    names = {(system.published or "").partition("/")[0] for system in config.systems}
    if not any(row[0] in names for row in table.rows):
        return None
    return table.model_dump(mode="json")


def percent(value: float, unit: str) -> float:
    """A score in the unit that the paper prints."""
    return 100.0 * value if unit == "fraction" else value


def _table(table: Table, config: RunConfig, results: Results) -> Json:
    rows = [_row(table, row, _systems_of(row, config), results) for row in table.rows]
    known = {row.id for row in table.rows}
    groups = {row.group for row in table.rows}
    for system in config.systems:
        if system.published in known:
            continue
        row = Row(
            id=system.name,
            name=system.name,
            group=_group(system, groups),
            values=[None] * len(table.columns),
        )
        made = _row(table, row, [system], results)
        if any(made["ours"]):
            rows.append(made)
    return {
        "number": table.number,
        "title": table.title,
        "columns": [column.name for column in table.columns],
        "digits": [_DIGITS.get(column.metric, 2) for column in table.columns],
        "rows": rows,
        "notes": table.notes,
        "suspect": [each.model_dump() for each in table.suspect],
    }


def _systems_of(row: Row, config: RunConfig) -> list[AnySystem]:
    return [system for system in config.systems if system.published == row.id]


def _group(system: AnySystem, groups: set[str | None]) -> str | None:
    if "Self-cascade" not in groups:
        return "This run"
    return "Self-cascade" if isinstance(system, CascadeConfig) else "Direct"


def _row(table: Table, row: Row, systems: list[AnySystem], results: Results) -> Json:
    """A printed row with the numbers of the first system that stands for it, if there is one."""
    name = systems[0].name if systems else None
    return {
        "name": row.name,
        "group": row.group,
        "system": name,
        "published": row.values,
        "ours": [_cell(column, name, results) if name else None for column in table.columns],
    }


def _cell(column: Column, system: str, results: Results) -> Json | None:
    scores = [results.score(key, column.metric, system) for key in column.tests]
    found = [score for score in scores if score is not None]
    if len(found) < len(scores):
        return None
    values = [percent(score["score"], score["unit"]) for score in found]
    cell: Json = {"value": sum(values) / len(values)}
    if len(found) == 1:
        (one,) = found
        cell |= {side: percent(one["interval"][side], one["unit"]) for side in ("low", "high")}
    return cell
