"""The family of metrics: one sample's verdict, then estimates with their intervals.

A scorer is one file in `evals/scorers/`. It says what it `reads` and is given to every task that makes it:

    text          a generated answer beside its reference
    likelihood    -log p of a text, with its tokens
    preference    log p of a chosen and of a rejected answer

What it is not: a task. Which samples, which prompts and which models is the business of `septet.evals.task`.

    evaluate: {scorers: [chrf, exact-match, {kind: preference-accuracy, per: token}]}
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from septet.core.component import Component
from septet.evals.sample import Output, Sample, Score
from septet.evals.stats import Estimate, mean

__all__ = ["Reads", "Scorer"]

Reads = Literal["text", "likelihood", "preference"]


class Scorer(Component):
    """A metric: fields are its settings, `score` judges one sample, `reduce` makes estimates of the verdicts."""

    drawer: ClassVar[str] = "septet.evals.scorers"
    reads: ClassVar[Reads] = "text"
    lower_is_better: ClassVar[bool] = False
    units: ClassVar[dict[str, str]] = {}
    """Unit of each figure, for tables; empty for a share of 1."""

    @abstractmethod
    def score(self, sample: Sample, output: Output) -> Score:
        """Judge one output."""

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        """Return an estimate for each name in the scores' values: the mean, with its error clustered by the samples' groups."""
        groups = [score.sample.cluster for score in scores]
        names = scores[0].values if scores else ()
        return {name: mean([score.values[name] for score in scores], groups=groups) for name in names}

    def signature(self) -> str:
        """Return what exactly was computed, short enough for a table's note."""
        return ""
