"""Two honest baselines for bits per byte: what xz needs for the held-out text, and a byte n-gram.

Both learn from the training bytes and are charged for exactly the bytes that the model is charged for. A document is its UTF-8
bytes followed by one separator (here the byte 0, for a model its end-of-text token). The separator's cost counts, its byte does
not, for all three. The n-gram and the model see each document alone; xz goes on from one held-out document to the next and
learns from them, which is in its favour.

    xz        C(train + test) - C(train), C = length of `xz -9e` with a window as large as the text
    n-gram    interpolated modified Kneser-Ney (Chen and Goodman 1998, TR-10-98; Kneser and Ney 1995), with h' the context h
              without its first byte, c the counts of the highest order and, below it, the number of different bytes seen to
              the left:
                  p(w|h) = max(0, c(hw) - D(c(hw))) / c(h) + g(h) p(w|h')        p(w|no context) falls to 1/256
                  g(h) = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / c(h)                Nk(h): bytes that follow h k times
                  Y = n1 / (n1 + 2 n2),  Dk = k - (k + 1) Y n(k+1) / nk,  k = 1, 2, 3+      nk: n-grams seen k times

What it is not: the strongest compressor known (PPMd or a mixing compressor does better), only two that everybody has.

    python -m pytest tests/evals/test_baselines.py
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["SEPARATOR", "ByteNgram", "XzBits", "xz_bits"]

SEPARATOR = b"\0"

Counts = np.ndarray[Any, np.dtype[np.int64]]
Keys = np.ndarray[Any, np.dtype[np.uint64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


# -- xz -----------------------------------------------------------------------------------------------------------------

LOOKAHEAD = 4096 + 273
"""How far LZMA reads before it begins to write: its parsing buffer and its longest match (liblzma, lzma_encoder.c)."""


@dataclass(frozen=True, slots=True)
class XzBits:
    """What xz needs. `total` is exact; `by_text` apportions it over the documents [N], to within some hundred bytes of text."""

    total: int
    by_text: Floats


def xz_bits(train: Sequence[str], test: Sequence[str]) -> XzBits:
    """Return C(train + test) - C(train) in bits, and its distribution over the test documents.

    The distribution, needed for an interval, is read off a plain LZMA stream while it is written; it is scaled to the exact
    total. A document of a few hundred bytes shares the cost of its neighbours, so resample groups of documents.
    """
    before, after = _join(train), _join(test)
    window = 1 << max(20, (len(before) + len(after) - 1).bit_length())
    settings = {"preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(window, 1536 << 20)}
    xz = [{"id": lzma.FILTER_LZMA2, **settings}]
    total = 8 * (len(lzma.compress(before + after, filters=xz)) - len(lzma.compress(before, filters=xz)))

    # The encoder reads LOOKAHEAD bytes ahead, settles how to write the next stretch, and writes the whole stretch at once. So
    # at the moment when it begins to write one, what it had written before is the cost of everything up to there.
    stream = lzma.LZMACompressor(format=lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, **settings}])
    written, fed = len(stream.compress(before)), len(before)
    places, sizes = [], []
    for start in range(0, len(after), 64):
        part = after[start : start + 64]
        fresh = len(stream.compress(part))
        fed += len(part)
        if fresh:
            places.append(fed - LOOKAHEAD)
            sizes.append(written)
        written += fresh
    places.append(fed)
    sizes.append(written + len(stream.flush()))
    ends = len(before) + np.cumsum([0, *(len(text.encode()) + 1 for text in test)])
    shares = np.diff(np.interp(ends, places, sizes))
    if len(places) < 3 or not shares.sum() > 0:  # a text shorter than the look-ahead is written in one go
        shares = np.diff(ends).astype(np.float64)
    return XzBits(total, shares * (total / shares.sum()))


def _join(texts: Sequence[str]) -> bytes:
    return b"".join(text.encode() + SEPARATOR for text in texts)


# -- byte n-gram --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Order:
    """One order's table: n-grams as keys [G] with counts, and their contexts [H] with total and interpolation weight."""

    grams: Keys
    counts: Counts
    contexts: Keys
    totals: Counts
    weights: Floats
    discounts: Floats


class ByteNgram:
    """A byte n-gram with interpolated modified Kneser-Ney smoothing; `order` counts the predicted byte, at most 8."""

    def __init__(self, texts: Sequence[str], *, order: int = 5) -> None:
        """Count the training texts: a sort per order, about half a second per megabyte and order."""
        if not 1 <= order <= 8:
            raise ValueError(f"the order of a byte n-gram is 1 to 8; got {order}.")
        if not texts:
            raise ValueError("a byte n-gram needs at least one training text.")
        self.order = order
        stream, places, _ = _lay(texts, order)
        grams, counts = np.unique(_keys(stream, places, order), return_counts=True)
        tables = [_table(grams, counts)]
        for length in range(order - 1, 0, -1):
            # continuation counts: each type of the order above is one more left neighbour
            shorter = np.unique(grams & np.uint64((1 << (8 * length)) - 1), return_counts=True)
            tables.append(_table(*shorter))
            grams = shorter[0]  # the padding gives every place a full context, so these are all types of this order
        self._tables = tables[::-1]

    @property
    def signature(self) -> str:
        """What was computed, for the report."""
        return f"byte {self.order}-gram, interpolated modified Kneser-Ney, documents apart"

    def bits(self, texts: Sequence[str]) -> Floats:
        """Return the cost in bits of each text [N] with its separator."""
        stream, places, owner = _lay(texts, self.order)
        found = self._probabilities([_keys(stream, places, length) for length in range(1, self.order + 1)])
        return np.bincount(owner, weights=-np.log2(found), minlength=len(texts)).astype(np.float64)

    def probabilities(self, context: bytes) -> Floats:
        """Return p(byte | the last order - 1 bytes of context) for all 256 bytes [256]; a short context starts a document."""
        last = (SEPARATOR * self.order + context)[len(context) + 1 :] if self.order > 1 else b""
        stream = np.frombuffer(b"".join(last + bytes([byte]) for byte in range(256)), np.uint8).astype(np.uint64)
        places = np.arange(256) * self.order + self.order - 1
        return self._probabilities([_keys(stream, places, length) for length in range(1, self.order + 1)])

    def _probabilities(self, keys: Sequence[Keys]) -> Floats:
        p = np.full(len(keys[0]), 1 / 256)
        for table, grams in zip(self._tables, keys, strict=True):
            unique, back = np.unique(grams, return_inverse=True)  # sorted look-ups are much the faster
            contexts = unique >> np.uint64(8)
            count = _look_up(table.grams, table.counts, unique)
            total = _look_up(table.contexts, table.totals, contexts)
            weight = _look_up(table.contexts, table.weights, contexts)
            seen = np.maximum(count - table.discounts[np.minimum(count, 3)], 0) / np.maximum(total, 1)
            weight = np.where(total > 0, weight, 1.0)  # a context never seen leaves everything to the shorter one
            p = seen[back] + weight[back] * p
        return p


def _lay(texts: Sequence[str], order: int) -> tuple[Keys, Counts, Counts]:
    """Return the byte stream, the places that are predicted [P] and the document of each place [P]."""
    # order - 1 separators before each document, so that a context never reaches into the document before
    raw = [text.encode() for text in texts]
    stream = np.frombuffer(b"".join(SEPARATOR * (order - 1) + text + SEPARATOR for text in raw), np.uint8)
    owner = np.repeat(np.arange(len(raw)), [len(text) + 1 for text in raw])
    return stream.astype(np.uint64), np.arange(len(owner)) + (owner + 1) * (order - 1), owner


def _keys(stream: Keys, places: Counts, length: int) -> Keys:
    """Return the `length` bytes that end at each place as one number, the oldest byte highest."""
    found = np.zeros(len(places), np.uint64)
    for back in range(length - 1, -1, -1):
        found = (found << np.uint64(8)) | stream[places - back]
    return found


def _table(grams: Keys, counts: Counts) -> _Order:
    frequency = [int((counts == times).sum()) for times in (1, 2, 3, 4)]
    if min(frequency) > 0:
        share = frequency[0] / (frequency[0] + 2 * frequency[1])
        found = [k - (k + 1) * share * frequency[k] / frequency[k - 1] for k in (1, 2, 3)]
        # never below 0.1: without a discount, an unseen byte would have probability 0
        found = [min(max(discount, 0.1), float(k)) for k, discount in enumerate(found, 1)]
    else:
        found = [0.5, 0.5, 0.5]  # low orders of large texts: next to nothing is rare, and the formula has no answer
    discounts = np.asarray([0.0, *found])
    contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
    totals = np.add.reduceat(counts, starts)
    taken = np.add.reduceat(discounts[np.minimum(counts, 3)], starts)
    return _Order(grams, counts, contexts, totals, taken / totals, discounts)


def _look_up(known: Keys, values: Any, wanted: Keys) -> Any:
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, values[at], 0)
