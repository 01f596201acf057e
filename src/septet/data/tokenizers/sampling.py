"""The text that a vocabulary is learnt from: a bounded part of a corpus, chosen by document, by weights of the sources.

A document is taken k times, where k follows from the rate of its source and a hash of its id: neither the order of the documents
nor what else is in the corpus moves the hash. With weights, each source gets its share of the bytes; one that is too small for its
share is counted several times. Nothing is held in memory.

What it is not: the mixture that a model is trained on.

    python -m pytest tests/data/test_tokenizer_training.py
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from septet.core.errors import DataError, nearest
from septet.data.documents import Document

__all__ = ["Sample", "pieces_of", "plan"]


@dataclass(frozen=True, slots=True)
class Sample:
    """How often a document of each source is taken. bytes: of the whole corpus by source, UTF-8."""

    rates: Mapping[str, float]
    bytes: Mapping[str, int]
    seed: int = 0

    @property
    def expected_bytes(self) -> int:
        return round(sum(rate * self.bytes[source] for source, rate in self.rates.items()))

    def unweighted(self, budget: int) -> Sample:
        """The sample of the same corpus in which every source has the same rate and no document is taken twice."""
        total = sum(self.bytes.values())
        rate = min(1.0, budget / total) if total else 1.0
        return Sample(dict.fromkeys(self.bytes, rate), self.bytes, self.seed)

    def copies(self, doc: Document) -> int:
        """How often this document is taken."""
        rate = self.rates[doc.source]
        whole = int(rate)
        part = rate - whole
        if part <= 0:
            return whole
        digest = hashlib.blake2b(f"{self.seed}\0{doc.id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return whole + (int.from_bytes(digest, "big") < part * 2**64)

    def texts(self, read: Callable[[], Iterable[Document]]) -> Iterable[str]:
        """The texts that are taken; may be gone over again and again."""
        return _Texts(self, read)


@dataclass(frozen=True, slots=True)
class _Texts:
    sample: Sample
    read: Callable[[], Iterable[Document]]

    def __iter__(self) -> Iterator[str]:
        for doc in self.read():
            for _ in range(self.sample.copies(doc)):
                yield doc.text


def plan(
    read: Callable[[], Iterable[Document]],
    *,
    budget: int,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Sample:
    """Go over the documents once and set the rates, so that about `budget` bytes are taken, or all where there are fewer.

    weights: the share of a source beside the others; a source that is not named weighs 1. Errors: DataError for a weight of a
    source that is not there, or where nothing is left to take.
    """
    sizes: Counter[str] = Counter()
    for doc in read():
        sizes[doc.source] += len(doc.text.encode("utf-8", "surrogatepass"))
    total = sum(sizes.values())
    unknown = sorted(set(weights or {}) - set(sizes))
    if unknown:
        raise DataError(f"weights: the corpus has no source '{unknown[0]}'.{nearest(unknown[0], sizes)}")
    even = Sample({}, dict(sizes), seed).unweighted(budget)
    if not weights:
        return even
    wanted = min(budget, total)
    parts = {source: weights.get(source, 1.0) if size else 0.0 for source, size in sizes.items()}
    whole = sum(parts.values())
    if not whole:
        raise DataError("weights: every source with text weighs 0, so nothing is left to learn from.")
    rates = {source: wanted * parts[source] / whole / size if size else 0.0 for source, size in sizes.items()}
    return Sample(rates, dict(sizes), seed)


def pieces_of(texts: Iterable[str], length: int = 100_000) -> Iterator[str]:
    """The texts, the longer ones in pieces of at most `length` characters."""
    for text in texts:
        for start in range(0, len(text), length):
            yield text[start : start + length]
