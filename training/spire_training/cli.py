"""The commands of `spire-dsu train`. Each imports what it needs when it is called."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="From shards to a speech language model: vocabulary, data, pre-training, instructions.",
)
