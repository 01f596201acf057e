"""Matthews correlation coefficient: how far the predicted labels agree with the right ones beyond chance, from -1 to 1.

With N samples, c of them right, and t_k and p_k how often label k is right and predicted:

    MCC = (c N - sum_k t_k p_k) / sqrt((N^2 - sum_k p_k^2) (N^2 - sum_k t_k^2)), 0 where the divisor is 0

0 is guessing, also where one label is much commoner than the others. scikit-learn's `matthews_corrcoef`.

Source: Matthews 1975; Gorodkin 2004 for more than two labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import right_labels, said_labels
from septet.evals.stats import Figures, Rows

__all__ = ["MatthewsCorrcoef"]


class MatthewsCorrcoef(Scorer):
    """Correlation of predicted and right labels."""

    reads: ClassVar[Reads] = "label"

    def score(self, sample: Sample, output: Output) -> Score:
        said, right = said_labels(output, sample), right_labels(sample)
        if len(right) != 1 or len(said) > 1:
            raise DataError(
                f"sample '{sample.id}': the Matthews correlation needs one label a text; see 'f1' for several."
            )
        return Score(sample, {"correct": float(said == right)}, (*right, *(said or [None])))

    def corpus(self, scores: Sequence[Score]) -> Figures:
        codes: dict[str | None, int] = {}  # naming no label is a label of its own, which is never right
        right, said = np.asarray([[codes.setdefault(label, len(codes)) for label in s.parts] for s in scores]).T

        def figures(rows: Rows) -> dict[str, float]:
            n = float(len(rows))
            t, p = (np.bincount(part[rows], minlength=len(codes)).astype(np.float64) for part in (right, said))
            below = (n * n - float(p @ p)) * (n * n - float(t @ t))
            above = float((right[rows] == said[rows]).sum()) * n - float(t @ p)
            return {"matthews_corrcoef": above / math.sqrt(below) if below > 0 else 0.0}

        return figures

    def signature(self) -> str:
        return "0 where one side has a single label"
