"""The commands of `spire-dsu eval`. Each imports what it needs when it is called."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="From a checkpoint to numbers: predictions, scores, comparisons, one report.",
)
