"""F1 of labels: macro, micro and weighted, with macro precision and recall, for one label a text or several.

With tp, fp and fn of each label: P = tp / (tp + fp), R = tp / (tp + fn), F1 = 2 tp / (2 tp + fp + fn); 0 where the divisor is 0.

    f1_macro       mean of the labels' F1; a rare label weighs as much as a common one
    f1_micro       F1 of the summed counts; with one label a text, all named, it is the accuracy
    f1_weighted    mean of the labels' F1, weighted by how often each is right

The names and values are scikit-learn's (`f1_score`, `zero_division=0`): labels count that are expected or predicted somewhere in
the samples. A text for which a system named no label counts as missed for the right label, and against no other one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from septet.core.errors import ComponentError, nearest
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import right_labels, said_labels
from septet.evals.stats import Array, Figures, Rows

__all__ = ["F1"]


class F1(Scorer):
    """Precision, recall and F1 over labels."""

    reads: ClassVar[Reads | tuple[Reads, ...]] = ("label", "labels")

    positive: str | None = None
    """A label whose own precision, recall and F1 are figures as well (`f1_binary`); for two labels, the one that is sought."""

    def score(self, sample: Sample, output: Output) -> Score:
        said, right = said_labels(output, sample), right_labels(sample)
        share = 2 * len(said & right) / (len(said) + len(right)) if said or right else 0.0
        return Score(sample, {"f1": share}, (tuple(sorted(right)), tuple(sorted(said))))

    def corpus(self, scores: Sequence[Score]) -> Figures:
        labels = sorted({label for score in scores for part in score.parts for label in part})
        if self.positive is not None and self.positive not in labels:
            raise ComponentError(
                f"f1: positive is '{self.positive}', which no sample has as its label.{nearest(self.positive, labels)}"
            )
        places = {label: place for place, label in enumerate(labels)}
        # one entry for each label of each text: whose it is, and which of the 3L counts it raises (hit, predicted, expected)
        entries = [
            (row, part * len(labels) + places[label])
            for row, (right, said) in enumerate(score.parts for score in scores)
            for part, names in enumerate((set(right) & set(said), said, right))
            for label in names
        ]
        owners, columns = np.asarray(entries, dtype=np.int64).reshape(-1, 2).T

        def figures(rows: Rows) -> dict[str, float]:
            drawn = np.bincount(rows, minlength=len(scores))
            sums = np.bincount(columns, weights=drawn[owners], minlength=3 * len(labels))
            hits, predicted, expected = sums.reshape(3, len(labels))
            seen = predicted + expected > 0  # a resample may lack a label
            precision, recall = _share(hits, predicted), _share(hits, expected)
            f1 = _share(2 * hits, predicted + expected)
            found = {
                "f1_macro": float(_share(f1.sum(), seen.sum())),
                "f1_micro": float(_share(2 * hits.sum(), predicted.sum() + expected.sum())),
                "f1_weighted": float(_share((f1 * expected).sum(), expected.sum())),
                "precision_macro": float(_share(precision.sum(), seen.sum())),
                "recall_macro": float(_share(recall.sum(), seen.sum())),
            }
            if self.positive is not None:
                place = places[self.positive]
                for name, share in (("f1", f1), ("precision", precision), ("recall", recall)):
                    found[f"{name}_binary"] = float(share[place]) if seen[place] else math.nan
            return found

        return figures

    def signature(self) -> str:
        binary = f"; binary: '{self.positive}'" if self.positive is not None else ""
        return f"labels that are expected or predicted; 0 where undefined{binary}"


def _share(above: Any, below: Any) -> Array:
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=np.asarray(below) > 0)
