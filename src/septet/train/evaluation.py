"""The mean of each term of an objective over rows; and what the loop does alike: rows in batches for each rank, and their terms.

    evaluate(model, objective, rows, settled=settled) -> {"nll": 2.31}

What it is not: a metric of a task, which is computed of predictions (`septet.evals`).

    python -m pytest tests/train/test_loop.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from septet.core.protocols import Ranks
from septet.nn.model import Model
from septet.train.objective import Batch, Objective, State, Term, generators
from septet.train.runtime import Settled

__all__ = ["batches_of", "evaluate", "terms_of"]


def evaluate(
    model: Model,
    objective: Objective,
    rows: Sequence[Any],
    *,
    settled: Settled,
    rows_at_once: int = 16,
    state: State | None = None,
    frozen: Mapping[str, Model] | None = None,
) -> dict[str, float]:
    """Return the mean of each term over rows, without gradient and without touching any random generator in use.

    Ranks share the rows, and all of them get the means over all.
    """
    was_training = model.module.training
    model.module.eval()
    # draws of `prepare` are the same at every evaluation, so that two differ only by the model
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    with torch.no_grad():
        for batch in batches_of(rows, objective, model, generators(len(rows), 0), rows_at_once, settled.ranks):
            for name, term in terms_of(objective, batch, model, state or {}, dict(frozen or {}), settled).items():
                sums[name] = sums.get(name, 0.0) + float(term.sum) * batch.counts
                weights[name] = weights.get(name, 0.0) + term.weight * batch.counts
    model.module.train(was_training)
    sums, weights = settled.ranks.sum(sums), settled.ranks.sum(weights)
    return {name: sums[name] / weights[name] for name in sums if weights[name]}


def batches_of(
    rows: Sequence[Any], objective: Objective, model: Model, rngs: Sequence[Any], size: int, ranks: Ranks
) -> list[Batch]:
    """Return this rank's rows in batches of at most `size`.

    Every rank gets equally many, because shards of weights are exchanged in each: where rows run out, one that does not count.
    """
    mine = range(ranks.rank, len(rows), ranks.size)
    most = math.ceil(math.ceil(len(rows) / ranks.size) / size)
    found = []
    for number in range(most):
        places = mine[number * size : (number + 1) * size]
        batch = objective.prepare(
            [rows[place] for place in places or [0]], model.tokenizer, [rngs[place] for place in places or [0]]
        )
        if not places:
            batch = replace(batch, weights=dict.fromkeys(batch.weights, 0.0), tokens=0, counts=False)
        found.append(batch)
    return found


def terms_of(
    objective: Objective, batch: Batch, model: Model, state: State, frozen: Mapping[str, Model], settled: Settled
) -> dict[str, Term]:
    """Return the objective's terms, computed where the weights are whole."""
    terms: dict[str, Term] = {}

    def compute() -> dict[str, Tensor]:
        terms.update(objective.loss(batch.to(settled.device), model, state, **frozen))
        return {name: term.sum for name, term in terms.items()}

    with settled.autocast():
        sums = model.within(compute)
    return {name: replace(term, sum=sums[name]) for name, term in terms.items()}
