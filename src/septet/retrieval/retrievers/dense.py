"""Meaning alone: the cosine between the question's vector and each document's, computed exactly.

It needs an index with vectors. It is blind to rare names, which the words of BM25 catch.

    septet index --corpus text --encoder minilm
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from septet.retrieval.retriever import Hit, Retriever, rank

if TYPE_CHECKING:
    from septet.retrieval.index import SearchIndex

__all__ = ["Dense"]


class Dense(Retriever):
    """Meaning alone (cosine of vectors)."""

    def search(self, index: SearchIndex, queries: Sequence[str], k: int = 10) -> list[list[Hit]]:
        return [rank(index, scores, k, {"dense": scores}) for scores in index.dense(queries)]
