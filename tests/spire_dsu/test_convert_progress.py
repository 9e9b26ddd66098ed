"""What is shown: lines without a terminal, a bar with one, and no row counted twice."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from spire_dsu.convert import progress
from spire_dsu.convert.engine import MOST_DEATHS, Assignments
from spire_dsu.convert.job import Died, Done, Progress, Tally, Waiting, WorkersDied
from spire_dsu.convert.progress import Display, Summary, clock
from spire_dsu.shards import ShardInfo

HOUR = 16_000 * 3600


def tally(rows: int, hours: float = 0.0, **bad: int) -> Tally:
    counts = {"ok": rows - sum(bad.values()), **bad}
    return Tally(samples=round(hours * HOUR), counts=counts)


def done(worker: int, index: int, made: Tally) -> Done:
    info = ShardInfo(
        index=index, file=f"units-{index:05d}.parquet", sha256="0" * 64, bytes=1, rows=made.rows,
        counts=made.counts, samples=made.samples, frames=0, units=0,
    )  # fmt: skip
    return Done(worker, info, made)


@pytest.fixture
def instantly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    monkeypatch.setattr(progress, "SILENCE_SECONDS", -1.0)


@pytest.mark.usefixtures("instantly")
def test_lines_tell_how_far_it_is() -> None:
    stream = io.StringIO()
    with Display(Console(file=stream, width=300)) as display:
        display.begin(1000, 50)
        display.show(Progress(0, tally(10, 2.5, missing=1)))
        display.show(Progress(1, tally(5, 0.5)))
        display.show(Died(1, "was killed by signal 9"))
        display.show(done(0, 7, tally(20, 4.0, missing=2, truncated=1)))
        display.show(Waiting((3, 4)))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "50 rows are there already, 1,000 to go"
    assert lines[1].startswith("10 of 1,000 rows, 2.50 h, ")
    assert lines[1].endswith("left, 1 missing")
    assert lines[2].startswith("15 of 1,000 rows, 3.00 h, ")
    assert lines[3] == "a worker was killed by signal 9; its shard is made again"
    assert lines[4].startswith("10 of 1,000 rows, 2.50 h")  # what died with the worker is not there
    assert lines[5].startswith("20 of 1,000 rows, 4.00 h, ")
    assert lines[5].endswith("2 missing, 1 truncated")
    assert lines[6].endswith("waiting for shards 3, 4")
    assert display.tally.rows == 20


def test_a_terminal_gets_a_bar() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, legacy_windows=False)
    with Display(console) as display:
        display.begin(40, 0)
        display.show(done(0, 0, tally(10, 1.0)))
        display._bar.refresh()
    assert "10 of 40 rows, 1.00 h" in stream.getvalue()


def test_without_a_console_nothing_is_shown_and_all_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Display(None) as display:
        display.reading(100_000)
        display.begin(40, 0)
        display.show(done(0, 0, tally(10, 1.0)))
        display.show(done(1, 1, tally(5, 1.0, empty=5)))
    assert display.tally.counts == {"ok": 10, "empty": 5}
    assert capsys.readouterr() == ("", "")


def test_the_summary_names_rates_and_reasons() -> None:
    examples = {"missing": "[x].wav: not there"}
    new = Tally(samples=HOUR, counts={"ok": 3, "missing": 1}, examples=examples)
    summary = Summary(
        folder=Path("out"), finished=True, shards=2, rows=8, counts={"ok": 6, "missing": 2},
        samples=2 * HOUR, frames=1, units=7200 * 30, bytes=3_000_000, new=new, seconds=1800.0,
    )  # fmt: skip
    assert (summary.hours, summary.hours_per_hour, summary.bad_share) == (2.0, 2.0, 0.25)
    stream = io.StringIO()
    Console(file=stream, width=100).print(summary.table())
    text = stream.getvalue()
    for part in ("out: finished", "2.00 h", "30.0 per second", "4 rows in 0:30:00", "2 h of audio"):
        assert part in text
    assert "2, as [x].wav: not there" in text
    assert clock(3725.6) == "1:02:06"


def test_shards_are_given_so_that_the_last_ones_do_not_wait() -> None:
    work = Assignments([5, 4, 3, 2, 1])
    given = [work.next_for(worker, 2) for worker in (0, 0, 0, 1, 1)]
    assert given == [1, 2, None, 3, 4]  # two each, in order
    work.done(0, 1)
    assert work.next_for(0, 2) is None  # the last one goes to who is free first
    work.done(1, 3)
    work.done(1, 4)
    assert work.next_for(1, 2) == 5
    assert work.current() == (2, 5)
    work.lost(0, "died")
    assert work.next_for(0, 2) == 2
    work.done(0, 2)
    assert work.open
    work.done(1, 5)
    assert not work.open


def test_a_shard_on_which_many_workers_die_stops_the_job() -> None:
    work = Assignments([9])
    for worker in range(MOST_DEATHS - 1):
        assert work.next_for(worker, 1) == 9
        work.lost(worker, "ended")
    assert work.next_for(99, 1) == 9
    with pytest.raises(WorkersDied, match="12 workers died on shard 9; the last was killed"):
        work.lost(99, "was killed")
