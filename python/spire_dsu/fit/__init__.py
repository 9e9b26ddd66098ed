"""`fit`: a manifest and an encoder in, a model folder with a codebook out.

    rows chosen by hash -> decoded ahead -> features -> a cache of bounded size -> k-means -> model

Features are never written as a corpus: they stay in memory, or in one scratch file that goes at the
end. What is chosen, and the codebook with it, depends on the ids of the rows and the seed, not on
the order of the manifest, the number of threads or interruptions.

    run.py      `fit`, from a manifest to a model folder
    select.py   which rows           extract.py   their features     cache.py   where those are kept
    phones.py   phone times          state.py     what a killed run leaves to go on from
"""

from spire_dsu.fit.run import fit, main
from spire_dsu.fit.state import FitConfig, FitReport

__all__ = ["FitConfig", "FitReport", "fit", "main"]
