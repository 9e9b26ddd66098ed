"""The summary as tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spire_dsu.report.summary import OK, Summary
from spire_dsu.types import FRAME_SECONDS, SAMPLING_RATE

_BLOCKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Prints what a conversion holds.

    Args:
        summary: of `summarize`.
        console: where to; standard output by default.
    """
    console = console or Console()
    console.print(_overview(summary))
    console.print(_statuses(summary))
    if any(summary.languages):
        console.print(_languages(summary))
    console.print(_units(summary))


def facts(summary: Summary) -> list[tuple[str, str]]:
    """The figures that come first, as (name, value) pairs."""
    used = summary.num_clusters - len(summary.unused)
    return [
        ("audio", f"{summary.hours:,.2f} h"),
        ("utterances", f"{summary.rows:,}"),
        ("with units", f"{summary.counts[OK]:,}"),
        ("units", f"{summary.num_units:,}"),
        ("units per second", f"{summary.units_per_second:.2f}"),
        ("frames merged away", f"{summary.merged:.1%}"),
        ("mean run", f"{summary.mean_run:.1f} ms"),
        ("longest run", f"{summary.longest_run * FRAME_SECONDS:,.2f} s"),
        (f"of {summary.num_clusters:,} units in use", f"{used:,}"),
        ("perplexity", f"{summary.perplexity:,.1f}"),
        ("shards", f"{summary.num_shards:,}"),
        ("size", f"{summary.num_bytes / 1e6:,.1f} MB"),
    ]


def _overview(summary: Summary) -> Table:
    table = Table(title=escape(str(summary.folder)), show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in facts(summary):
        table.add_row(name, value)
    table.add_row("run lengths", sparkline(summary.run_lengths.tolist()[:25]))
    table.add_row("utterance lengths", sparkline(summary.seconds.tolist()))
    return table


def sparkline(values: list[int]) -> str:
    """A row of blocks as high as the values; what is not zero is never blank."""
    highest = max(values, default=0)
    if highest == 0:
        return ""
    return "".join(_BLOCKS[-(-8 * value // highest)] for value in values)


def _statuses(summary: Summary) -> Table:
    table = Table("status", "rows", "share", "for example", title="rows by status")
    for column in table.columns[1:3]:
        column.justify = "right"
    for status, count in sorted(summary.counts.items(), key=lambda item: (-item[1], item[0])):
        names = ", ".join(escape(repr(name)) for name in summary.examples.get(status, []))
        table.add_row(status, f"{count:,}", f"{count / summary.rows:.2%}", names)
    return table


def _languages(summary: Summary) -> Table:
    table = Table("language", "utterances", "hours", "units per second", title="languages")
    for column in table.columns[1:]:
        column.justify = "right"
    ordered = sorted(summary.languages.items(), key=lambda item: (-item[1].samples, item[0]))
    for name, language in ordered[:20]:
        seconds = language.samples / SAMPLING_RATE
        rate = f"{language.units / seconds:.2f}" if seconds else ""
        table.add_row(
            escape(name) or "not named", f"{language.rows:,}", f"{seconds / 3600:,.2f}", rate
        )
    return table


def _units(summary: Summary) -> Table:
    table = Table("unit", "times", "share", "mean run", title="most frequent units")
    for column in table.columns:
        column.justify = "right"
    for unit in summary.top(10):
        times = int(summary.unit_counts[unit])
        run = int(summary.frame_counts[unit]) / times * FRAME_SECONDS * 1000
        share = f"{times / summary.num_units:.2%}"
        table.add_row(str(unit), f"{times:,}", share, f"{run:.0f} ms")
    return table
