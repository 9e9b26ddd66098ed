"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from spire_dsu.discretizer import Discretizer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:INDEX.")]
Precision = Annotated[
    Literal["auto", "exact", "fast"],
    typer.Option(help="exact: float32, equal to the reference. fast: half precision."),
]
Model = Annotated[str, typer.Option(help="A preset (mini, spire), a model folder or a hub id.")]


def load(model: str, device: str, precision: str) -> Discretizer:
    """The model that the options name."""
    # Imported late: torch takes a second, and `--help` should not wait for it.
    from spire_dsu.discretizer import Discretizer

    return Discretizer.from_pretrained(model, device=device, precision=precision)
