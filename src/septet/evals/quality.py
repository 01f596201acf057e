"""The one figure by which systems of a task are compared where one is needed: on a ladder, in a search for a wording.

    quality = quality_of(task)
    quality.value(quality.scores(outputs, quality.samples(rows)))

What it is not: an evaluation, which tells every figure with its interval.

    python -m pytest tests/evals/test_asked.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from septet.core.errors import ComponentError
from septet.evals.asked import prediction_of
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Scorer
from septet.evals.scorers.accuracy import Accuracy
from septet.evals.scorers.bleu import Bleu
from septet.evals.scorers.chrf import Chrf
from septet.evals.scorers.entity_f1 import EntityF1
from septet.evals.scorers.f1 import F1
from septet.evals.scorers.regression import Regression
from septet.evals.scorers.rouge import Rouge
from septet.evals.scorers.squad import Squad
from septet.evals.stats import Estimate
from septet.evals.task import judge_all
from septet.evals.tasks.predictions import output_of, sample_of
from septet.infer.task import Row, Task

__all__ = ["Quality", "quality_of"]

FIGURES: dict[str, tuple[Scorer, str]] = {
    "label": (Accuracy(), "accuracy"),
    "labels": (F1(), "f1_micro"),
    "value": (Regression(), "spearman"),
    "tags": (EntityF1(), "entity_f1"),
    "span": (Squad(), "f1"),
    "text": (Chrf(), "chrf"),
}
"""By what a task gives: the scorer, and its figure."""
MORE: dict[str, tuple[Scorer, ...]] = {"label": (F1(),), "text": (Bleu(), Rouge())}


@dataclass(frozen=True)
class Quality:
    """The figure `metric` of a scorer, for the rows of one task. more: scorers whose figures are told beside it."""

    task: Task
    scorer: Scorer
    metric: str
    more: tuple[Scorer, ...] = ()

    def samples(self, rows: Sequence[Row]) -> list[Sample]:
        return [replace(sample_of(self.task, row), group=str(row["id"])) for row in rows]

    def scores(self, outputs: Sequence[Output], samples: Sequence[Sample]) -> list[Score]:
        return judge_all(self.scorer, samples, outputs)

    def value(self, scores: Sequence[Score]) -> float:
        return self.scorer.reduce(scores, seed=0)[self.metric].value

    def __call__(self, values: Sequence[Any], rows: Sequence[Row]) -> float:
        """Return the figure of what a way to ask has answered: a `Metric` of its own."""
        said = [prediction_of(self.task.kind, row, value) for row, value in zip(rows, values, strict=True)]
        outputs = [output_of({"prediction": one, "probabilities": {}}) for one in said]
        return self.value(self.scores(outputs, self.samples(rows)))

    def minus_the_best(self, scores: Mapping[str, Sequence[Score]]) -> dict[str, Estimate]:
        """Return for each system its figure minus that of the best one, paired by rows."""
        best = max(scores, key=lambda name: self.value(scores[name]))
        return {name: self.minus(own, scores[best]) for name, own in scores.items() if name != best}

    def minus(self, first: Sequence[Score], second: Sequence[Score]) -> Estimate:
        return self.scorer.compare(first, second, seed=0)[self.metric]


def quality_of(task: Task) -> Quality:
    """Return the figure for a task. Raises ComponentError where what it gives has none."""
    if task.gives not in FIGURES:
        raise ComponentError(f"the task '{task.kind}' has no figure by which rungs could be compared.")
    return Quality(task, *FIGURES[task.gives], MORE.get(task.gives, ()))
