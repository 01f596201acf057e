"""The same examples for every query, as many of each class as can be.

Classes take turns, in an order drawn at random; k smaller than the number of classes shows that many classes. A class that has
no more rows is left out of the turns.

What it is not: a way to even out what the model prefers; see `calibration`.

    python -m pytest tests/infer/test_in_context.py -k choose
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from septet.infer.choosing import Chooser, Pool
from septet.infer.engine import EngineError

__all__ = ["Balanced"]


class Balanced(Chooser):
    """Draw examples class by class."""

    seed: int = 0
    """Another seed draws others."""

    def choose(self, pool: Pool, queries: Sequence[str], k: int) -> list[list[int]]:
        if pool.labels is None:
            raise EngineError(
                "balanced chooses by class, and this task's rows have none; choose random, similar or diverse."
            )
        rng = np.random.default_rng(self.seed)
        drawn: dict[str, list[int]] = {label: [] for label in sorted(set(pool.labels))}
        for place in rng.permutation(len(pool)):
            drawn[pool.labels[place]].append(int(place))
        classes = [drawn[str(label)] for label in rng.permutation(list(drawn))] if drawn else []
        turns = range(max(map(len, classes), default=0))
        ranked = [rows[turn] for turn in turns for rows in classes if turn < len(rows)]
        return [pool.others(ranked, query, k) for query in queries]
