"""One process of a run that torchrun started: `python -m spire_training.cpt.worker CONFIG`."""

from __future__ import annotations

import sys
from pathlib import Path

from spire_dsu.errors import SpireError
from spire_training.cpt.command import run

if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]), 1)
    except SpireError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
