"""The same examples for every query, spread over the pool: one from each of k clusters.

Zhang et al. 2023, "Automatic Chain of Thought Prompting" (section 4.1), without its filters: k-means over the rows' vectors, and of
each cluster the row that is nearest to its centre; the largest cluster comes first.

What it is not: a look at labels or at the query.

    python -m pytest tests/infer/test_in_context.py -k choose
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from septet.core.extras import need
from septet.infer.choosing import Chooser, Pool

__all__ = ["Diverse"]


class Diverse(Chooser):
    """Cluster the rows and take each cluster's most typical one."""

    seed: int = 0
    """Where k-means starts."""

    def choose(self, pool: Pool, queries: Sequence[str], k: int) -> list[list[int]]:
        if not 0 < k < len(pool):
            return [pool.others(range(len(pool)), query, k) for query in queries]
        clusters = pool.once((self, k), lambda: self._clusters(pool, k))
        found: list[list[int]] = []
        for query in queries:
            firsts = [place for rows in clusters for place in pool.others(rows, query, 1)]
            rest = [place for rows in clusters for place in rows if place not in firsts]
            found.append(pool.others([*firsts, *rest], query, k))
        return found

    def _clusters(self, pool: Pool, k: int) -> list[np.ndarray]:
        """Return the places of each cluster's rows, the most typical first; the largest cluster first."""
        means = need("sklearn.cluster", "corpus").KMeans(k, random_state=self.seed, n_init=4)  # 1 s to import
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer different texts than clusters: some stay empty, which is seen below
            cluster_N = means.fit_predict(pool.vectors)
            distance_NK = means.transform(pool.vectors)
        clusters = [np.flatnonzero(cluster_N == number) for number in range(k)]
        clusters = [
            rows[np.argsort(distance_NK[rows, cluster_N[rows[0]]], kind="stable")] for rows in clusters if len(rows)
        ]
        return sorted(clusters, key=len, reverse=True)
