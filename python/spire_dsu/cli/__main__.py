"""`python -m spire_dsu.cli` is `spire-dsu`."""

from spire_dsu.cli import main

main()
