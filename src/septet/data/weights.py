"""How often a document counts: `meta["weight"]` as an expected number of repetitions, made a whole number by a hash.

A document of weight 2.3 is read twice, and a third time where the hash of seed and id falls below 0.3; one of weight 0.4 is read
at all in four of ten cases. Who reads a weighted corpus (a mixture, an audit) asks here, so that all of them see the same text.

    python -m pytest tests/data/test_weights.py
"""

from __future__ import annotations

import hashlib
import math

from septet.core.errors import DataError
from septet.data.documents import Document

__all__ = ["MOST", "chance", "repetitions"]

MOST = 1000.0
"""A weight above this is taken for a mistake."""


def chance(seed: int, doc_id: str) -> float:
    """Return a number in [0, 1) that depends on the seed and the id alone."""
    digest = hashlib.blake2b(f"{seed}\0{doc_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def repetitions(doc: Document, seed: int = 0) -> int:
    """Return how often the document is read; 1 where it has no weight. Errors: DataError for a weight that is no number >= 0."""
    weight = doc.meta.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= MOST:
        raise DataError(f"The document {doc.id!r} has the weight {weight!r}; a number from 0 to {MOST:g} is expected.")
    whole = math.floor(weight)
    return whole + (weight > whole and chance(seed, doc.id) < weight - whole)
