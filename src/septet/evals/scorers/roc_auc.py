"""Area under the ROC curve of the labels' probabilities: how often a text with the label gets more than one without it.

AUC_k = P(p_k(with) > p_k(without)) + P(equal) / 2. Two labels give one number, which is the same for both; more give the mean over
the labels, each against the rest. scikit-learn's `roc_auc_score` (`multi_class="ovr"`, `average="macro"`). A label that all texts
have, or none, has no curve and is left out of the mean; the note names it. Systems without probabilities get no figure.

Source: Hanley and McNeil 1982.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import probabilities, right_labels, with_probabilities
from septet.evals.stats import Array, Figures, Rows

__all__ = ["RocAuc"]


class RocAuc(Scorer):
    """Ranking of texts by the probability of a label."""

    reads: ClassVar[Reads | tuple[Reads, ...]] = ("label", "labels")

    def score(self, sample: Sample, output: Output) -> Score:
        found = probabilities(output, sample)
        if not found:
            return Score(sample, {})
        return Score(sample, {"highest_probability": max(found.values())}, (right_labels(sample), found))

    def corpus(self, scores: Sequence[Score]) -> Figures:
        if not with_probabilities(scores):
            return lambda rows: {}
        labels = [label for label, count in _counts(scores).items() if 0 < count < len(scores)]
        if len(_counts(scores)) == 2 and all(isinstance(score.sample.expected, str) for score in scores):
            labels = labels[1:]  # the other label's curve is the same one
        areas = [
            _area(np.asarray([s.parts[1][label] for s in scores]), np.asarray([label in s.parts[0] for s in scores]))
            for label in labels
        ]

        def figures(rows: Rows) -> Mapping[str, float]:
            drawn = np.bincount(rows, minlength=len(scores)).astype(np.float64)
            return {"roc_auc": float(np.mean([area(drawn) for area in areas])) if areas else float("nan")}

        return figures

    def signature(self) -> str:
        return "ties count a half; over two labels: each against the rest, unweighted mean"

    def note(self, scores: Sequence[Score]) -> str:
        known = with_probabilities(scores)
        flat = [label for label, count in _counts(known).items() if count in (0, len(known))] if known else []
        return self.signature() + (f"; no curve for {', '.join(flat)}" if flat else "")


def _counts(scores: Sequence[Score]) -> dict[str, int]:
    """Return how many texts have each label that has probabilities."""
    labels = sorted(scores[0].parts[1])
    for score in scores:
        if sorted(score.parts[1]) != labels:
            raise DataError(
                f"sample '{score.sample.id}' has probabilities of {', '.join(sorted(score.parts[1]))}; "
                f"the first one has them of {', '.join(labels)}."
            )
    return {label: sum(label in score.parts[0] for score in scores) for label in labels}


def _area(p: Array, right: np.ndarray) -> Callable[[Array], float]:
    """Return the function from how often each text was drawn, [N], to the area; the texts are sorted once."""
    order = np.argsort(p, kind="stable")
    firsts = np.flatnonzero(np.diff(p[order], prepend=-1.0))  # where each value of p begins
    right = right[order].astype(np.float64)

    def area(drawn: Array) -> float:
        drawn = drawn[order]
        having = np.add.reduceat(drawn * right, firsts)
        lacking = np.add.reduceat(drawn * (1 - right), firsts)
        pairs = having.sum() * lacking.sum()
        wins = having @ (np.cumsum(lacking) - lacking / 2)  # those below, and half of the equal ones
        return float(wins / pairs) if pairs else float("nan")

    return area
