"""The command line, `spire-dsu`.

Exit status: 0 all is well; 1 some inputs have no units, or something was found wrong (each says
why); 2 the command itself cannot be carried out (wrong arguments, unknown model, ...); 130
interrupted; `convert` has a few more of its own. A traceback is never the answer to a user's
mistake.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from spire_dsu import __version__
from spire_dsu.cli import bulk, small
from spire_dsu.errors import SpireError
from spire_evaluation.cli import app as evaluation
from spire_training.cli import app as training

app = typer.Typer(
    name="spire-dsu",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Speech to discrete units for language models.",
)
for command in (
    small.demo,
    small.encode,
    bulk.fit,
    bulk.convert,
    bulk.verify,
    bulk.inspect,
    bulk.export,
):
    app.command()(command)
app.command("import-codebook")(small.import_codebook)
app.add_typer(training, name="train")
app.add_typer(evaluation, name="eval")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Entry point of `spire-dsu`: turns errors into one line and an exit status."""
    try:
        app()
    except SpireError as error:
        sys.stderr.write(f"spire-dsu: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `spire-dsu encode ... | head`
        sys.stderr.close()
        sys.exit(1)
