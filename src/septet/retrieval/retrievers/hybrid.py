"""Words and meaning together: a fixed convex combination of both scores, plus the documents' standing.

    score = weight * share(cosine + asked) + (1 - weight) * share(bm25) + prior * standing        (standing <= 0)

`asked` is `asked_weight` times the square of the best cosine, if positive, with a question that people asked of the document (0
where the index knows none): squared, so that a paraphrase counts and a mere neighbour hardly does. `share` divides by the
question's best. A tuned convex combination beat reciprocal rank fusion in Bruch et
al. (2022, arXiv:2210.11934). Without vectors the first term is gone and `weight` is 0. A document whose qualified name the
question writes out (`os.path.join`, `zip()`) comes first.

Its weights are fixed fields, chosen once on the tune half of the judged questions; it does not learn from use.

    septet index --corpus text --retriever hybrid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from septet.retrieval.retriever import Hit, Retriever, rank, share

if TYPE_CHECKING:
    from septet.retrieval.index import SearchIndex

__all__ = ["Hybrid"]


class Hybrid(Retriever):
    """Words and meaning together (a fixed convex combination)."""

    weight: float = Field(default=0.93, ge=0, le=1)
    """The share of the cosine; the rest is BM25's."""
    prior: float = Field(default=0.06, ge=0, le=1)
    """How much a document's standing counts."""
    asked_weight: float = Field(default=1.0, ge=0, le=10)
    """How much a question that was asked counts beside the document itself."""
    words_prior: float = Field(default=0.11, ge=0, le=1)
    """The same where there are no vectors."""

    def search(self, index: SearchIndex, queries: Sequence[str], k: int = 10) -> list[list[Hit]]:
        cosines = index.dense(queries) if index.vectors is not None else [None] * len(queries)
        asked = index.asked(queries) if index.vectors is not None else None
        found = []
        for position, (query, cosine) in enumerate(zip(queries, cosines, strict=True)):
            words = index.bm25(query)
            parts = {"bm25": words, "standing": index.standing}
            if cosine is None:
                scores = np.where(words > 0, share(words) + self.words_prior * index.standing, -np.inf)
            else:
                parts["dense"] = meaning = cosine
                if asked is not None:
                    parts["asked"] = asked[position]
                    meaning = cosine + self.asked_weight * np.maximum(asked[position], 0.0) ** 2
                scores = self.weight * share(meaning) + (1 - self.weight) * share(words) + self.prior * index.standing
            named = index.named(query)
            if len(named):
                # standing is at most 0, so nothing else exceeds 1, and with its lowest value taken off, these do not fall below
                lowest = max(self.prior, self.words_prior) * float(index.standing.min())
                scores[named] = np.where(np.isfinite(scores[named]), scores[named], lowest) + 1.0 - lowest
            found.append(rank(index, scores, k, parts))
        return found
