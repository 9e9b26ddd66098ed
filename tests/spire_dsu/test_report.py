"""The report counts what is there, and its HTML opens anywhere and runs nothing."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from unit_rows import CLUSTERS, convert, make_rows, row_of_frames

from spire_dsu.errors import Reason
from spire_dsu.report import Summary, print_summary, summarize, write_html
from spire_dsu.report.summary import LONGEST_RUN, LONGEST_UTTERANCE, perplexity
from spire_dsu.report.svg import bars, log_lines, log_log, nice_top, short
from spire_dsu.report.terminal import sparkline
from spire_dsu.shards import ShardError
from spire_dsu.types import UnitRow

ROWS = [
    dataclasses.replace(row, lang="de" if k % 4 else None) for k, row in enumerate(make_rows(60))
]
OK = [row for row in ROWS if row.status is Reason.OK]


def summary_of(folder: Path, rows: list[UnitRow]) -> Summary:
    convert(folder, rows)
    return summarize(folder)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summary_of(tmp_path_factory.mktemp("corpus"), ROWS)


def test_the_counts_are_those_of_the_rows(summary: Summary) -> None:
    units = np.concatenate([row.units for row in OK])
    frames = np.concatenate([np.repeat(row.units, row.durations) for row in OK])
    assert summary.unit_counts.tolist() == np.bincount(units, minlength=CLUSTERS).tolist()
    assert summary.frame_counts.tolist() == np.bincount(frames, minlength=CLUSTERS).tolist()
    assert summary.counts == Counter(str(row.status) for row in ROWS)
    assert summary.rows == 60
    assert summary.num_units == units.size
    assert summary.num_frames == frames.size
    assert summary.samples == sum(row.num_samples for row in OK)
    assert summary.hours == pytest.approx(summary.samples / 57_600_000)
    assert summary.units_per_second == pytest.approx(units.size * 16_000 / summary.samples)
    assert summary.merged == pytest.approx(1 - units.size / frames.size)
    assert summary.mean_run == pytest.approx(20 * frames.size / units.size)
    runs = np.concatenate([row.durations for row in OK])
    assert summary.run_lengths.tolist() == np.bincount(runs, minlength=LONGEST_RUN + 1)[1:].tolist()
    assert summary.longest_run == runs.max()


def test_rows_without_units_are_told_apart_by_reason(summary: Summary) -> None:
    for reason in {row.status for row in ROWS} - {Reason.OK}:
        names = [row.id for row in ROWS if row.status is reason]
        assert summary.counts[str(reason)] == len(names)
        assert summary.examples[str(reason)] == names[:3]
    assert "ok" not in summary.examples


def test_languages(summary: Summary) -> None:
    for name in ("de", ""):
        rows = [row for row in OK if (row.lang or "") == name]
        found = summary.languages[name]
        assert found.rows == len(rows)
        assert found.samples == sum(row.num_samples for row in rows)
        assert found.units == sum(row.units.size for row in rows)


def test_long_runs_and_long_utterances_are_counted_together(tmp_path: Path) -> None:
    rows = [row_of_frames([7] * 3000, id="a"), row_of_frames([1, 2] * 75, id="b")]
    found = summary_of(tmp_path, rows)
    assert found.run_lengths[-1] == 1
    assert found.longest_run == 3000
    assert found.seconds[LONGEST_UTTERANCE] == 1
    assert found.seconds[3] == 1


def test_usage_and_perplexity(tmp_path: Path) -> None:
    found = summary_of(tmp_path, [row_of_frames([3, 1, 3, 1, 9, 5], id="a")])
    assert found.top(3) == [1, 3, 5]
    assert found.top(99) == [1, 3, 5, 9]
    assert found.unused == [unit for unit in range(CLUSTERS) if unit not in (1, 3, 5, 9)]
    assert found.by_rank().tolist() == [2, 2, 1, 1]
    share = np.array([2, 2, 1, 1]) / 6
    assert found.perplexity == pytest.approx(math.exp(-(share * np.log(share)).sum()))
    assert perplexity(np.full(50, 7)) == pytest.approx(50)
    assert perplexity(np.array([5, 0])) == 1
    assert perplexity(np.zeros(4, np.int64)) == 0


def text_of(summary: Summary) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_summary(summary, console)
    return console.file.getvalue()


def test_the_terminal_shows_the_figures(summary: Summary) -> None:
    text = text_of(summary)
    for value in (f"{summary.num_units:,}", f"{summary.merged:.1%}", "not named", "too_short"):
        assert value in text
    assert str(summary.top(1)[0]) in text


def test_markup_in_an_id_is_text(tmp_path: Path) -> None:
    bad = ["[bold]x[/bold][/red]", "<script>alert(1)</script>", "a\x1b[31mb"]
    rows = [
        dataclasses.replace(ROWS[3], id=f"{name}{k}", lang=name) for k, name in enumerate(bad)
    ] + [row_of_frames([1], id="b", lang=bad[1])]
    found = summary_of(tmp_path / "<img>", rows)
    text = text_of(found)
    assert "[bold]x[/bold]" in text
    assert "\x1b[31mb" not in text
    page = write_html(found, tmp_path / "a.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_opens_offline_in_both_themes(summary: Summary, tmp_path: Path) -> None:
    path = write_html(summary, tmp_path / "a.html")
    page = path.read_text()
    assert not re.search(r"https?:|src=|href=|@import|url\(|<script|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    used = set(re.findall(r"var\(--(\w+)\)", page))
    light, dark = page.split("@media", 1)
    for theme in (light, dark.split("* {")[0]):
        assert used <= set(re.findall(r"--(\w+):", theme))
    assert write_html(summary, tmp_path / "b.html").read_bytes() == path.read_bytes()
    for value in (f"{summary.num_units:,}", f"{summary.perplexity:,.1f}", summary.folder.name):
        assert value in page


def test_every_chart_is_well_formed_and_inside_its_frame(summary: Summary, tmp_path: Path) -> None:
    page = write_html(summary, tmp_path / "a.html").read_text()
    charts = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(charts) == 3
    for chart in charts:
        root = ElementTree.fromstring(chart)
        width, height = map(float, root.get("viewBox").split()[2:])
        for mark in root.iter("rect"):
            assert 0 <= float(mark.get("x")) <= width
            assert -0.01 <= float(mark.get("y")) <= height
            assert float(mark.get("y")) + float(mark.get("height")) <= height
        for line in root.iter("polyline"):
            points = np.array([point.split(",") for point in line.get("points").split()], float)
            assert (points >= 0).all()
            assert (points <= [width, height]).all()
            assert (np.diff(points[:, 0]) >= 0).all()
            assert (np.diff(points[:, 1]) >= 0).all()  # SVG counts downwards, ranks fall


def test_an_empty_conversion_has_a_report_too(tmp_path: Path) -> None:
    for name, rows in (("none", []), ("bad", [row for row in ROWS if row.status is not Reason.OK])):
        found = summary_of(tmp_path / name, rows)
        assert (found.hours, found.num_units, found.perplexity) == (0, 0, 0)
        assert (found.units_per_second, found.merged, found.mean_run) == (0, 0, 0)
        assert text_of(found)
        page = write_html(found, tmp_path / f"{name}.html").read_text()
        assert page.count("<svg") == 3


def test_a_full_codebook_says_so(tmp_path: Path) -> None:
    found = summary_of(tmp_path, [row_of_frames(list(range(CLUSTERS)), id="a")])
    page = write_html(found, tmp_path / "a.html").read_text()
    assert found.unused == []
    assert "every unit of the codebook is in use" in page


def test_a_damaged_conversion_has_no_report(tmp_path: Path) -> None:
    convert(tmp_path, ROWS)
    (tmp_path / "units-00000.parquet").write_bytes(b"")
    with pytest.raises(ShardError, match="units-00000"):
        summarize(tmp_path)


def test_charts_of_odd_values() -> None:
    for chart in (
        bars([], [], "x", "y"),
        bars([0, 0], ["a", "b"], "x", "y"),
        bars([10**12, 1], ["<", "&"], "x", "y"),
        log_log(np.zeros(0, np.int64), "x", "y"),
        log_log(np.array([1]), "x", "y"),
        log_log(np.array([10**9] * 3 + [1] * 5000), "x", "y"),
        log_lines({"<a>": [(1, 0.5)]}, "x", "y"),
        log_lines({"a": [(1, 1e-9), (10**9, 1e9)], "b": [(5, 2.0)] * 3}, "x", "y"),
    ):
        ElementTree.fromstring(chart)
        places = re.findall(r'points="([^"]*)"', chart)
        numbers = [float(n) for place in places for n in re.split("[ ,]", place)]
        assert all(0 <= n <= 640 for n in numbers)
    assert [nice_top(value) for value in (0, 4, 5, 11, 100, 101, 999)] == [
        *(4, 4, 8, 12, 100, 120, 1000)
    ]
    assert all(nice_top(v) >= v and nice_top(v) % 4 == 0 for v in range(3000))
    assert [short(v) for v in (0, 5, 1500, 2.5e6, 1e9)] == ["0", "5", "1.5k", "2.5M", "1G"]
    assert sparkline([]) == sparkline([0]) == ""
    assert sparkline([0, 1, 8]) == " \u2581\u2588"
