"""Documents -> rows: best fit, with a bounded number of open rows.

A document goes into the open row that it fills best. The rows' free places are bits of one integer,
so the best row is found by shifting, however many are open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from spire_dsu.types import Int32
from spire_training.data.packed import Marks

Document = tuple[Int32, Marks]


@dataclass
class Packing:
    """Counts of what was packed.

    Attributes:
        rows: rows that were filled.
        documents: documents in them.
        tokens: tokens of documents; the rest of the rows is padding.
    """

    rows: int = 0
    documents: int = 0
    tokens: int = 0

    def fill(self, length: int) -> float:
        """Share of the rows' tokens that are no padding."""
        return self.tokens / (self.rows * length) if self.rows else 0.0


@dataclass
class BestFit:
    """Packs documents into rows of one length.

    Attributes:
        length: tokens of a row.
        open_rows: rows that are open at most.
        padding: the token that fills a row up; its mark, not its id, says that it is padding.
        packing: the counts.
    """

    length: int
    open_rows: int
    padding: int
    packing: Packing = field(default_factory=Packing)
    _free: dict[int, list[list[Document]]] = field(default_factory=dict)
    _bits: int = 0
    _open: int = 0

    def add(self, tokens_n: Int32, marks_n: Marks) -> Iterator[Document]:
        """Takes a document of at most `length` tokens; yields the rows that are closed by it."""
        size = int(tokens_n.size)
        fits = self._bits >> size
        if fits:
            free = size + (fits & -fits).bit_length() - 1
            row = self._taken(free)
        else:
            if self._open == self.open_rows:
                yield self._closed(self._taken((self._bits & -self._bits).bit_length() - 1))
            free, row = self.length, []
        row.append((tokens_n, marks_n))
        self.packing.documents += 1
        self.packing.tokens += size
        if free == size:
            yield self._closed(row)
        else:
            self._free.setdefault(free - size, []).append(row)
            self._bits |= 1 << (free - size)
            self._open += 1

    def finish(self) -> Iterator[Document]:
        """The rows that are still open, the fullest first."""
        while self._bits:
            yield self._closed(self._taken((self._bits & -self._bits).bit_length() - 1))

    def _taken(self, free: int) -> list[Document]:
        rows = self._free[free]
        row = rows.pop()
        if not rows:
            del self._free[free]
            self._bits ^= 1 << free
        self._open -= 1
        return row

    def _closed(self, row: list[Document]) -> Document:
        tokens_L = np.full(self.length, self.padding, np.int32)
        marks_L = np.zeros(self.length, np.uint8)
        at = 0
        for tokens, marks in row:
            tokens_L[at : at + tokens.size] = tokens
            marks_L[at : at + marks.size] = marks
            at += tokens.size
        self.packing.rows += 1
        return tokens_L, marks_L
