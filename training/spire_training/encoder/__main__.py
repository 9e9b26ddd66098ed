"""The stages of the recipe as commands: `python -m spire_training.encoder STAGE SETTINGS --work
DIR`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spire_training.encoder import finish as last
from spire_training.encoder import stages
from spire_training.encoder.judge import layer_scores
from spire_training.encoder.settings import read_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
SettingsFile = Annotated[Path, typer.Argument(help="the recipe's TOML")]
WorkFolder = Annotated[Path, typer.Option("--work", help="folder for what passes between stages")]
RoundNumber = Annotated[int, typer.Option("--round", help="which round, from 1")]


def _say(text: str) -> None:
    typer.echo(text)


@app.command()
def speech(settings: SettingsFile, work: WorkFolder, workers: int = 2) -> None:
    """Plan the corpus and speak it into WORK/speech."""
    run = stages.Work(read_settings(settings), work)
    with last.timed(run, "speech"):
        stages.speak(run, workers, _say)


@app.command()
def pretrain(settings: SettingsFile, work: WorkFolder, number: RoundNumber) -> None:
    """Cluster, label and train one round into WORK/round<N>; continues from its checkpoint."""
    run = stages.Work(read_settings(settings), work)
    with last.timed(run, f"round {number}"):
        stages.pretrain(run, number, _say)


@app.command()
def layers(settings: SettingsFile, work: WorkFolder, number: RoundNumber) -> None:
    """Print how well each layer's units follow phones on dev after one round: a help to choose the
    settings.
    """
    layer_scores(stages.Work(read_settings(settings), work), number, _say)


@app.command()
def finish(
    settings: SettingsFile,
    work: WorkFolder,
    out: Annotated[Path, typer.Option(help="the model folder to write")],
    results: Annotated[Path, typer.Option(help="the figures to write")],
) -> None:
    """Choose the layer, fit the codebook, judge it on test, write model folder and figures."""
    last.finish(stages.Work(read_settings(settings), work), out, results, _say)


@app.command()
def demo(out: Annotated[Path, typer.Option(help="folder for demo.flac and demo.json")]) -> None:
    """Speak the recording that is bundled with the package."""
    _say(str(last.write_demo(out)))


if __name__ == "__main__":
    app()
