"""Stage 0: which recordings, under which ids. Ids name rows; they are never used as paths.

`open_manifest` takes any form and gives a `Manifest`: a number of rows, each an `Utterance`, any of
them at once.
"""

from spire_dsu.manifest.ids import derive_ids
from spire_dsu.manifest.opening import open_manifest
from spire_dsu.manifest.recordings import RecordingReader
from spire_dsu.manifest.table import Manifest
from spire_dsu.textio import printable

__all__ = ["Manifest", "RecordingReader", "derive_ids", "open_manifest", "printable"]
