"""MinHash signatures of documents, many at a time, in numpy; and what their bands catch.

A document is the set of its word n-grams ("shingles") after folding: lower case, letters and digits only. A signature
holds, for each of P hash functions, the smallest hash in the set; two signatures agree in a place with the probability of the sets'
Jaccard similarity (Broder 1997). Cut into b bands of r rows, two documents of similarity s share a whole band with probability
1 - (1 - s^r)^b (Leskovec et al., Mining of Massive Datasets, section 3.4).

What it is not: a verdict. `septet.data.filters.minhash_dedup` is the filter.

    python -m pytest tests/data/test_minhash.py
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

from septet.data.bits import stirred

__all__ = ["band_keys", "caught", "shingle_hashes", "shingle_text", "signatures"]

_WORDS = re.compile(r"\w+")
_BASE = np.uint64(0x9E3779B97F4A7C15)
"""An odd number, so that it has an inverse modulo 2^64."""
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_powers = np.empty(0, np.uint64)
_inverses = np.empty(0, np.uint64)


def caught(similarity: float, bands: int, rows: int) -> float:
    """The probability that two documents of this Jaccard similarity share a band.

    >>> round(caught(0.8, 14, 8), 3)
    0.924
    """
    return 1 - (1 - similarity**rows) ** bands


def shingle_text(text: str) -> str:
    """The text that is cut into shingles: words of letters and digits, lower case, without accents, single spaces.

    >>> shingle_text("The Café, twice: the café!")
    'the cafe twice the cafe'
    """
    if not text.isascii():
        text = _marks().sub("", unicodedata.normalize("NFKD", text))
    return " ".join(_WORDS.findall(text.lower()))


@cache
def _marks() -> re.Pattern[str]:
    """All combining marks, as ranges; there are none beyond the second plane."""
    points = {point for point in range(0x300, 0x20000) if unicodedata.combining(chr(point))}
    starts = sorted(point for point in points if point - 1 not in points)
    ends = sorted(point for point in points if point + 1 not in points)
    return re.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True)) + "]+")


def shingle_hashes(texts: Sequence[str], ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 64-bit hashes of the shingles of each text, uint64 [S], and where each text's begin, int64 [len(texts) + 1].

    A shingle is hashed as a polynomial in its bytes, taken from prefix sums, so that no string is made for it; then its bits are
    mixed (splitmix64). A text of fewer than `ngram` words is one shingle; one without words has none.
    """
    raw = [shingle_text(text).encode("utf-8") for text in texts]
    joined = np.frombuffer(b"\n".join(raw) + b"\n", np.uint8)
    sums = np.empty(len(joined) + 1, np.uint64)
    sums[0] = 0
    powers, inverses = _tables(len(joined) + 1)
    np.cumsum(joined.astype(np.uint64) * powers[: len(joined)], out=sums[1:])
    breaks = np.flatnonzero((joined == 32) | (joined == 10))  # the end of every word (and of every text without words)
    starts = np.concatenate([[0], breaks[:-1] + 1])
    last = joined[breaks] == 10
    text_of_word = np.concatenate([[0], np.cumsum(last)[:-1]])
    full = breaks > starts  # a text without words gives an empty word
    words = np.bincount(text_of_word[full], minlength=len(texts))
    starts, breaks, text_of_word = starts[full], breaks[full], text_of_word[full]
    counts = np.where(words == 0, 0, np.maximum(words - ngram + 1, 1))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    if not bounds[-1]:
        return np.empty(0, np.uint64), bounds
    first_word = np.concatenate([[0], np.cumsum(words)])[:-1]
    owner = np.repeat(np.arange(len(texts)), counts)
    begin = first_word[owner] + np.arange(bounds[-1]) - bounds[owner]
    end = np.minimum(begin + ngram, first_word[owner] + words[owner]) - 1
    left, right = starts[begin], breaks[end]
    return stirred((sums[right] - sums[left]) * inverses[left]), bounds


def signatures(texts: Sequence[str], *, ngram: int, permutations: int, seed: int = 0) -> np.ndarray:
    """Return the MinHash signatures, uint64 [len(texts), permutations]; texts without words have the largest value everywhere."""
    hashes, bounds = shingle_hashes(texts, ngram)
    found = np.full((permutations, len(texts)), np.iinfo(np.uint64).max, np.uint64)
    filled = np.flatnonzero(np.diff(bounds))
    if len(filled):
        # a random odd factor and a random addend modulo 2^64 for each permutation; the upper bits decide the minimum
        random = np.random.default_rng([seed, 0x5E97E7])
        factors = random.integers(0, 2**64, permutations, np.uint64) | np.uint64(1)
        addends = random.integers(0, 2**64, permutations, np.uint64)
        starts = bounds[filled]
        scratch = np.empty_like(hashes)
        for place in range(permutations):
            np.multiply(hashes, factors[place], out=scratch)
            np.add(scratch, addends[place], out=scratch)
            found[place, filled] = np.minimum.reduceat(scratch, starts)
    return found.T.copy()


def band_keys(signature: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """Return a 128-bit key for each band, uint64 [N, bands, 2], from signatures [N, bands * rows]."""
    parts = stirred(signature.reshape(len(signature), bands, rows))
    high = np.zeros(parts.shape[:2], np.uint64)
    low = np.zeros(parts.shape[:2], np.uint64)
    for row in range(rows):
        high = stirred(high * _BASE + parts[:, :, row])
        low = stirred((low ^ parts[:, :, row]) + np.uint64(row + 1))
    place = np.arange(1, bands + 1, dtype=np.uint64) * _BASE
    return np.stack([stirred(high ^ place), low], axis=2)


def _tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of the base and of its inverse modulo 2^64, kept and grown."""
    global _powers, _inverses
    if len(_powers) < size:
        grown = 1 << (size - 1).bit_length()
        _powers, _inverses = (
            np.concatenate([[np.uint64(1)], np.full(grown - 1, base, np.uint64)]).cumprod(dtype=np.uint64)
            for base in (_BASE, _INVERSE)
        )
    return _powers, _inverses
