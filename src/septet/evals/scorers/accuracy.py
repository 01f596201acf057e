"""Accuracy: the share of texts whose label is right; of several labels, the share whose set of labels is exactly right.

scikit-learn's `accuracy_score`. For sets of labels that is the subset accuracy, which a single wrong label spoils; read it beside
`f1`. A text for which a system named no label counts as wrong. Wilson interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import right_labels, said_labels
from septet.evals.stats import Estimate, mean, proportion

__all__ = ["Accuracy"]


class Accuracy(Scorer):
    """The share of right labels."""

    reads: ClassVar[Reads | tuple[Reads, ...]] = ("label", "labels")

    def score(self, sample: Sample, output: Output) -> Score:
        right = said_labels(output, sample) == right_labels(sample)
        return Score(sample, {"accuracy": float(right)})

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        groups, right = [score.sample.cluster for score in scores], [score.values["accuracy"] for score in scores]
        # Wilson's interval takes samples for independent, and those of one group are not
        alone = len(set(groups)) == len(groups)
        return {"accuracy": proportion(int(sum(right)), len(right)) if alone else mean(right, groups=groups)}

    def signature(self) -> str:
        return "share of right labels; of sets of labels, exactly equal ones"
