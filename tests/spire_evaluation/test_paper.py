"""The paper's tables as data: complete, in agreement with themselves but for the marked cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from spire_dsu.config import load_toml
from spire_evaluation.config import RunConfig
from spire_evaluation.paper import published
from spire_evaluation.tasks import DECLARED

RECIPE = Path(__file__).resolve().parents[2] / "evaluation/recipes/spire.toml"
TABLES = {table.number: table for table in published().tables}


def value(number: int, row: str, column: str) -> float:
    table = TABLES[number]
    (found,) = (r for r in table.rows if r.id == row)
    at = [c.name for c in table.columns].index(column)
    printed = found.values[at]
    assert printed is not None
    return printed


def test_every_table_of_results_is_there() -> None:
    assert list(TABLES) == [2, 3, 4, 5, 6, 7, 9, 11, 12]
    assert {n: len(t.rows) for n, t in TABLES.items()} == {
        2: 9, 3: 5, 4: 2, 5: 5, 6: 6, 7: 6, 9: 4, 11: 6, 12: 4}  # fmt: skip
    assert published().data_seen.number == 8
    for table in TABLES.values():
        assert all(len(row.values) == len(table.columns) for row in table.rows)
        assert len({row.id for row in table.rows}) == len(table.rows)


def test_columns_name_test_sets_that_are_declared() -> None:
    known = {f"{kind}/{part}" for kind, d in DECLARED.items() for part in d.parts}
    for table in TABLES.values():
        for column in table.columns:
            assert set(column.tests) <= known, column.name


@pytest.mark.parametrize("number", [7, 11])
def test_means_over_languages_are_those_of_the_row(number: int) -> None:
    """The last two columns are means of the others: a slip in copying would show."""
    table = TABLES[number]
    places = {column.tests[0]: at for at, column in enumerate(table.columns[:9])}
    tolerance = 0.06 if number == 7 else 0.011  # of the printed digits
    for row in table.rows:
        for at in (9, 10):
            cells = [row.values[places[key]] for key in table.columns[at].tests]
            mean = sum(cell for cell in cells if cell is not None) / len(cells)
            assert row.values[at] == pytest.approx(mean, abs=tolerance), (row.id, at)


def test_the_ablations_repeat_the_other_tables_but_for_the_marked_cells() -> None:
    directions = {"MT en-xx": ("en-de", "en-ru", "en-zh"), "MT xx-en": ("de-en", "ru-en", "zh-en")}
    marked = {(s.row, s.column) for s in TABLES[12].suspect}
    wrong = set()
    for group, pairs in directions.items():
        for short, digits in (("C22", 2), ("spB", 1)):
            cells = [value(5, "SPIREFULL", f"{pair} {short}") for pair in pairs]
            printed = value(12, "SPIREFULL", f"{group} {short}")
            if printed != pytest.approx(sum(cells) / 3, abs=0.6 * 10**-digits):
                wrong.add(("SPIREFULL", f"{group} {short}"))
    for short in ("C22", "spB"):
        cells = [value(6, "SPIREFULL", f"{pair} {short}") for pair in ("en-de", "en-zh")]
        if value(12, "SPIREFULL", f"ST en-xx {short}") != pytest.approx(sum(cells) / 2, abs=0.1):
            wrong.add(("SPIREFULL", f"ST en-xx {short}"))
    assert wrong == marked
    assert value(12, "SPIREFULL", "LibriSpeech other") == value(2, "SPIREFULL", "LibriSpeech other")
    assert value(9, "SPIREFULL", "ASR WER") == value(2, "SPIREFULL", "LibriSpeech clean")
    for column in ("en-xx C22", "en-xx spB", "xx-en C22", "xx-en spB"):
        assert value(9, "SPIREFULL", f"MT {column}") == value(3, "SPIREFULL", column)
    assert value(9, "SPIREFULL", "ST en-xx C22") == value(11, "SPIREFULL", "mean of 9")
    assert value(9, "SPIREFULL", "ST en-xx spB") == value(7, "SPIREFULL", "mean of 9")


def test_the_recipe_asks_for_every_column() -> None:
    config = load_toml(RECIPE, RunConfig)
    asked = {f"{test.kind}/{part}" for test in config.tests
             for part in test.parts or DECLARED[test.kind].parts}  # fmt: skip
    needed = {key for table in TABLES.values() for column in table.columns for key in column.tests}
    assert needed <= asked
    rows = {row.id for table in TABLES.values() for row in table.rows}
    named = {system.published for system in config.systems}
    assert named <= rows
    left = {"Spirit-LM", "TOWERFULL", "SPIRENOBLOCKS", "SPIRENOPSEUDO"}  # not released
    assert rows - named == left
