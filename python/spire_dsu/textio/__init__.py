"""Reading the text files that others wrote: lists, tables and large JSON, with sizes and encodings
under control.
"""

from spire_dsu.textio.lines import (
    MAX_LINE_BYTES,
    Note,
    clean,
    ignore,
    printable,
    read_lines,
    read_pairs,
    read_table,
)
from spire_dsu.textio.rows import problem_of_path, utterance

__all__ = [
    "MAX_LINE_BYTES",
    "Note",
    "clean",
    "ignore",
    "printable",
    "problem_of_path",
    "read_lines",
    "read_pairs",
    "read_table",
    "utterance",
]
