"""From the canonical shards to what trainers read. Every export can be made again at any time.

    megatron   PREFIX.bin, PREFIX.idx       token ids, one document per utterance
    km         PATH                         fairseq's lines of units
    text       PATH                         units as text, in either spelling
    jsonl      PATH                         every row as JSON, those without units too
    shar       FOLDER/units.000000.tar ...  a field beside the cuts of a Lhotse Shar folder

Beside each (but not in a Shar folder, where every file is a field) stands NAME.json: digests,
counts, settings and where the units came from. It is written last, after all was read back.
"""

from __future__ import annotations

from spire_dsu.export.common import Exported, ExportError
from spire_dsu.export.lines import export_jsonl, export_km, export_text
from spire_dsu.export.megatron import check_megatron, export_megatron
from spire_dsu.export.shar import export_shar

__all__ = [
    "ExportError",
    "Exported",
    "check_megatron",
    "export_jsonl",
    "export_km",
    "export_megatron",
    "export_shar",
    "export_text",
]
