"""Choosing the examples of a prompt: the family, and the pool that its kinds choose from.

The kinds are the drawer `septet.infer.examples`. Likeness between texts is the cosine of their vectors: of a function that is
handed in (an encoder's, an engine's `embed`), or of TF-IDF word counts where there is none, which know word overlap and nothing
of meaning.

What it is not: an index. A query is compared with every row of the pool.

    python -m pytest tests/infer/test_in_context.py -k choose
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np

from septet.core.component import Component
from septet.core.extras import need

__all__ = ["Chooser", "Embed", "Pool"]

T = TypeVar("T")
Embed = Callable[[Sequence[str]], np.ndarray]
"""Vectors [N, D] for texts, of any length."""

QUERIES_TOGETHER = 256
"""Queries compared with the pool at a time: 256 x 100,000 rows are 200 MB."""


class Pool:
    """The rows that may become examples. texts: what a row is compared by; labels: beside each, or None for tasks without."""

    def __init__(
        self, texts: Sequence[str], labels: Sequence[str] | None = None, *, embed: Embed | None = None
    ) -> None:
        assert labels is None or len(labels) == len(texts)
        self.texts, self.labels = list(texts), None if labels is None else list(labels)
        self._embed = embed
        self._known: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def once(self, name: Any, find: Callable[[], T]) -> T:
        """Return what was found under this name, or find it now: what is the same for every query."""
        if name not in self._known:
            self._known[name] = find()
        return self._known[name]

    @cached_property
    def _encode(self) -> Callable[[Sequence[str]], Any]:
        if self._embed is not None:
            embed = self._embed

            def dense(texts: Sequence[str]) -> np.ndarray:
                vectors_ND = np.asarray(embed(texts), dtype=np.float64)
                return vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=-1, keepdims=True), 1e-12)

            return dense
        # scikit-learn: 1 s to import, and not everybody has it
        counter = need("sklearn.feature_extraction.text", "corpus").TfidfVectorizer(
            token_pattern=r"(?u)\w+", sublinear_tf=True
        )
        try:
            counter.fit(self.texts)
        except ValueError:  # no text has a word: all are equally unlike
            return lambda texts: np.zeros((len(texts), 1))
        return counter.transform

    @cached_property
    def vectors(self) -> Any:
        """Vectors [N, D] of unit length, dense or sparse; a text without a known word is zero."""
        return self._encode(self.texts)

    def likeness(self, queries: Sequence[str]) -> Iterator[np.ndarray]:
        """Yield for each query its cosine [N] with each row."""
        for start in range(0, len(queries), QUERIES_TOGETHER):
            part_QN = self._encode(queries[start : start + QUERIES_TOGETHER]) @ self.vectors.T
            yield from part_QN if isinstance(part_QN, np.ndarray) else part_QN.toarray()

    def others(self, ranked: Sequence[int] | np.ndarray, query: str, k: int) -> list[int]:
        """Return the first `k` of the ranked rows whose text is not the query's own: an example must not give the answer away."""
        found: list[int] = []
        for place in ranked:
            if len(found) == k:
                break
            if self.texts[place] != query:
                found.append(int(place))
        return found


class Chooser(Component):
    """Picks the examples that a prompt shows."""

    drawer: ClassVar[str] = "septet.infer.examples"
    nearest_first: ClassVar[bool] = False
    """Whether the most useful example is the one most like the query."""

    @abstractmethod
    def choose(self, pool: Pool, queries: Sequence[str], k: int) -> list[list[int]]:
        """Return for each query at most `k` places in the pool, the most useful first, none with the query's own text."""
