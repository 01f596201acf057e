"""For each query the examples that are most like it.

Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?" (kNN-augmented selection): cosine of vectors, the nearest first.
With `order: similar-last` the nearest stands next to the question.

What it is not: a balanced choice; all neighbours may be of one class.

    python -m pytest tests/infer/test_in_context.py -k choose
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from septet.infer.choosing import Chooser, Pool

__all__ = ["Similar"]


class Similar(Chooser):
    """Take the nearest neighbours."""

    nearest_first: ClassVar[bool] = True

    def choose(self, pool: Pool, queries: Sequence[str], k: int) -> list[list[int]]:
        likeness = zip(pool.likeness(queries), queries, strict=True)
        return [pool.others(np.argsort(-cosine_N, kind="stable"), query, k) for cosine_N, query in likeness]
