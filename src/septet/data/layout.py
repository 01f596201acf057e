"""Take packed rows apart into pieces of text, and lay sequences out in rows again.

A packed row (`septet.data.packing.Row`) holds pieces of documents. An objective that changes a text takes the pieces out, masks,
shuffles or corrupts them, puts its special tokens around, and lays the results out in rows of its own, several in a row, which the
model keeps apart by the number of the document at each position.

What it is not: a packer of a corpus; it works on the rows of one batch.

    python -m pytest tests/data/test_layout.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from septet.data.packing import Row, best_fit

__all__ = ["Places", "lay", "pieces"]


def pieces(row: Row, separator: int) -> list[np.ndarray]:
    """Return the texts in a row: int32 token ids, without the separator before a document; none is empty."""
    starts = np.flatnonzero(row.positions[: row.used] == 0)
    found = []
    for start, end in zip(starts, [*starts[1:], row.used], strict=True):
        ids = row.ids[start:end]
        ids = ids[1:] if ids[0] == separator else ids
        if len(ids):
            found.append(ids)
    return found


@dataclass(frozen=True, slots=True)
class Places:
    """Where each sequence lies: its row, and its number in the row, from 1. `rows` is the number of rows."""

    row: np.ndarray
    number: np.ndarray
    rows: int

    def fill(self, sequences: Sequence[np.ndarray], *, empty: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (values, positions, documents), int64 [rows, longest row]: the sequences of a row one after the other.

        values: the sequences', `empty` after the last. positions: 0, 1, ... within each sequence. documents: the sequence's
        number in its row, 0 where there is none.
        """
        lengths = np.zeros(self.rows, np.int64)
        starts = np.empty(len(sequences), np.int64)
        for place in np.lexsort((self.number, self.row)):
            starts[place] = lengths[self.row[place]]
            lengths[self.row[place]] += len(sequences[place])
        shape = (self.rows, int(lengths.max()))
        values = np.full(shape, empty, np.int64)
        positions, documents = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for sequence, row, start, number in zip(sequences, self.row, starts, self.number, strict=True):
            end = start + len(sequence)
            values[row, start:end] = sequence
            positions[row, start:end] = np.arange(len(sequence))
            documents[row, start:end] = number
        return values, positions, documents


def lay(sizes: Sequence[int], room: int) -> Places:
    """Place sequences of these sizes in rows of at most `room`, best fit; a longer sequence makes its row as long as itself."""
    bins = best_fit(sizes, max([room, *sizes]))
    row, number = np.empty(len(sizes), np.int64), np.empty(len(sizes), np.int64)
    for place, bin_ in enumerate(bins):
        row[bin_] = place
        number[bin_] = np.arange(1, len(bin_) + 1)
    return Places(row, number, len(bins))
