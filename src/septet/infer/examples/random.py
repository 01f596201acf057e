"""The same examples for every query, drawn at random.

What it is not: a fresh draw for each query; with one prompt for all, what a server has read once it may keep.

    python -m pytest tests/infer/test_in_context.py -k choose
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from septet.infer.choosing import Chooser, Pool

__all__ = ["Random"]


class Random(Chooser):
    """Draw examples without looking at them."""

    seed: int = 0
    """Another seed draws others."""

    def choose(self, pool: Pool, queries: Sequence[str], k: int) -> list[list[int]]:
        ranked = np.random.default_rng(self.seed).permutation(len(pool))
        return [pool.others(ranked, query, k) for query in queries]
