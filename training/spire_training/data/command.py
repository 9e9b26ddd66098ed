"""`spire-dsu train prepare`."""

from __future__ import annotations

from pathlib import Path

from spire_dsu.config import load_toml
from spire_training.data.prepare import prepare
from spire_training.data.settings import PrepareConfig
from spire_training.data.table import report


def prepare_command(config: Path, workers: int) -> str:
    """Prepares, and returns the report of what was made.

    Raises:
        SpireError: see `prepare`.
    """
    return report(prepare(load_toml(config, PrepareConfig), workers=workers))
