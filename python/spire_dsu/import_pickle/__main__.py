"""Entry of the reading process: `python -I -S -B .../import_pickle/__main__.py LIMITS SCRATCH`.

The packages are made known without running their `__init__`, so that the process holds nothing but
the standard library: no numpy, no torch, no site-packages, nothing for a hostile file to reach.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Runs `child.main` with bare packages around it."""
    for name, folder in (("spire_dsu", HERE.parent), ("spire_dsu.import_pickle", HERE)):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    importlib.import_module("spire_dsu.import_pickle.child").main(sys.argv[1:])


if __name__ == "__main__":
    main()
