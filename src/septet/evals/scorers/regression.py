"""Regression: correlation of predicted and right numbers, and how far apart they are.

    pearson                      straight-line correlation, -1 to 1
    spearman                     correlation of the ranks, ties share the mean rank
    mean_absolute_error          mean |predicted - right|, in the unit of the numbers
    root_mean_squared_error      sqrt(mean (predicted - right)^2), which large errors dominate

A correlation with a constant is undefined: a system that always says the same number has no `pearson` and no `spearman`. The
values are scipy's and scikit-learn's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import number
from septet.evals.stats import Array, Figures, Rows, ranks

__all__ = ["Regression"]


class Regression(Scorer):
    """Correlations and errors of numbers."""

    reads: ClassVar[Reads] = "value"
    lower_figures: ClassVar[tuple[str, ...]] = ("mean_absolute_error", "root_mean_squared_error")
    units: ClassVar[dict[str, str]] = {
        "pearson": "correlation",
        "spearman": "correlation",
        "mean_absolute_error": "as the values",
        "root_mean_squared_error": "as the values",
    }

    def score(self, sample: Sample, output: Output) -> Score:
        said, right = number(output.prediction, sample), number(sample.expected, sample)
        return Score(sample, {"absolute_error": abs(said - right)}, (said, right))

    def corpus(self, scores: Sequence[Score]) -> Figures:
        said, right = np.asarray([score.parts for score in scores], dtype=np.float64).T

        def figures(rows: Rows) -> Mapping[str, float]:
            x, y = said[rows], right[rows]
            return {
                "pearson": _correlation(x, y),
                "spearman": _correlation(ranks(x), ranks(y)),
                "mean_absolute_error": float(np.abs(x - y).mean()),
                "root_mean_squared_error": math.sqrt(float(((x - y) ** 2).mean())),
            }

        return figures

    def signature(self) -> str:
        return "population formulas; ties in ranks share their mean"


def _correlation(x: Array, y: Array) -> float:
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / math.sqrt(float(x @ x) * float(y @ y)), -1, 1))
