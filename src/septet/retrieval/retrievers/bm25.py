"""Words alone: Okapi BM25 as SQLite's FTS5 computes it, over name, first paragraph and body.

Only documents that hold a word of the question are found. It reads no meaning: "folder" does not find "directory".

    septet index --corpus text --encoder none
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from septet.retrieval.retriever import Hit, Retriever, rank

if TYPE_CHECKING:
    from septet.retrieval.index import SearchIndex

__all__ = ["BM25"]


class BM25(Retriever):
    """Words alone (Okapi BM25)."""

    def search(self, index: SearchIndex, queries: Sequence[str], k: int = 10) -> list[list[Hit]]:
        found = []
        for query in queries:
            scores = index.bm25(query)
            found.append(rank(index, np.where(scores > 0, scores, -np.inf), k, {"bm25": scores}))
        return found
