"""The family of retrievers: how an index is searched.

A retriever turns the index's scores into one ranking. Scores of different origin are compared as shares of the best score that
the question got (`share`), so each lies in [0, 1] with the best document at 1.

What it is not: an index. It holds two or three numbers and no documents.

    septet ask "How do I join two paths?"
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from septet.core.component import Component
from septet.data.documents import Document

if TYPE_CHECKING:
    from septet.retrieval.index import SearchIndex

__all__ = ["Hit", "Retriever", "rank", "share"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found. `parts` has the raw BM25 score, the cosine and the standing, where they are known."""

    document: Document
    score: float
    parts: dict[str, float] = field(default_factory=dict)


class Retriever(Component):
    """How an index is searched."""

    drawer: ClassVar[str] = "septet.retrieval.retrievers"

    @abstractmethod
    def search(self, index: SearchIndex, queries: Sequence[str], k: int = 10) -> list[list[Hit]]:
        """Return the best `k` documents for each query, best first; equal scores in the order of the index."""


def share(scores: np.ndarray) -> np.ndarray:
    """Return scores [N] divided by the largest, negative ones as 0; all zeros where nothing scores.

    >>> share(np.array([2.0, 1.0, -1.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    best = scores.max(initial=0.0)
    return np.maximum(scores, 0.0) / best if best > 0 else np.zeros_like(scores)


def rank(index: SearchIndex, scores: np.ndarray, k: int, parts: dict[str, np.ndarray]) -> list[Hit]:
    """Return the `k` documents with the largest finite scores [N] as hits."""
    order = np.argsort(-scores, kind="stable")[:k]
    return [
        Hit(index.document(int(row)), float(scores[row]), {name: float(values[row]) for name, values in parts.items()})
        for row in order
        if np.isfinite(scores[row])
    ]
