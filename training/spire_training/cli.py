"""The commands of `spire-dsu train`. Each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="From shards to a speech language model: vocabulary, data, pre-training, instructions.",
)


@app.command()
def it(config: Annotated[Path, typer.Argument(help="TOML, see docs/it.md")]) -> None:
    """Instruction tuning: packed rows in, a chat model out.

    Reads a packed folder of the stage "it" and a Hugging Face folder; writes OUT/hf, losses as CSV
    and for TensorBoard, and checkpoints; started again, it goes on. Several processes: under
    torchrun or accelerate launch: `torchrun --nproc-per-node 8 -m spire_dsu.cli train it CONFIG`.

    Example: spire-dsu train it it.toml
    """
    from spire_dsu.config import load_toml
    from spire_training.it.config import ITConfig
    from spire_training.it.run import train_it

    typer.echo(train_it(load_toml(config, ITConfig)))
