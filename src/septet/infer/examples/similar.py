"""For each query the examples that are most like it.

Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?" (kNN-augmented selection): cosine of vectors, the nearest first.
With `order: similar-last` the nearest stands next to the question.

What it is not: a balanced choice; all neighbours may be of one class.

    python -m pytest tests/infer/test_in_context.py -k choose
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from septet.infer.choosing import Chooser, Pool

__all__ = ["Similar"]


class Similar(Chooser):
    """Take the nearest neighbours."""

    def choose(self, pool: Pool, queries: Sequence[str], k: int) -> list[list[int]]:
        ranked_QN = np.argsort(-pool.likeness(queries), axis=-1, kind="stable")
        return [pool.others(ranked_N, query, k) for ranked_N, query in zip(ranked_QN, queries, strict=True)]
