"""The family of metrics: one sample's verdict, then estimates with their intervals.

A scorer is one file in `evals/scorers/`. It says what it `reads` and is given to every task that makes it:

    text          a generated answer beside its reference, or several
    likelihood    -log p of a text, with its tokens
    preference    log p of a chosen and of a rejected answer
    label         one label of a text; its probabilities where the system has them
    labels        any number of labels
    value         a number
    tags          a tag for each word, in BIO
    span          an answer taken from a passage, or none

A figure is either a mean of the samples' own values, or a statistic of a whole corpus (F1, BLEU, a correlation): then `corpus`
returns the function that computes it, and intervals and paired comparisons of two systems follow from that one function.

What it is not: a task. Which samples, which prompts and which models is the business of `septet.evals.task`.

    evaluate: {scorers: [chrf, exact-match, {kind: preference-accuracy, per: token}]}
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from septet.core.component import Component
from septet.evals.sample import Output, Sample, Score
from septet.evals.stats import Estimate, Figures, bootstrap_all, bootstrap_difference, difference, mean

__all__ = ["Reads", "Scorer"]

Reads = Literal["text", "likelihood", "preference", "label", "labels", "value", "tags", "span"]

RESAMPLES = 1000


class Scorer(Component):
    """A metric: fields are its settings, `score` judges one sample, `reduce` makes estimates of the verdicts."""

    drawer: ClassVar[str] = "septet.evals.scorers"
    reads: ClassVar[Reads | tuple[Reads, ...]] = "text"
    lower_is_better: ClassVar[bool] = False
    lower_figures: ClassVar[tuple[str, ...]] = ()
    """Figures of which less is better, where the scorer's others rise."""
    units: ClassVar[dict[str, str]] = {}
    """Unit of each figure, for tables; empty for a share of 1."""

    @abstractmethod
    def score(self, sample: Sample, output: Output) -> Score:
        """Judge one output."""

    def corpus(self, scores: Sequence[Score]) -> Figures | None:
        """Return the function from row numbers of `scores` to figures; None where each figure is the mean of its values."""
        return None

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        """Return an estimate for each figure; those that are undefined for these scores are left out.

        Means have an error clustered by the samples' groups, corpus figures a bootstrap that draws whole groups.
        """
        groups = [score.sample.cluster for score in scores]
        figures = self.corpus(scores) if scores else None
        if figures is None:
            names = scores[0].values if scores else ()
            return {name: mean([score.values[name] for score in scores], groups=groups) for name in names}
        found = bootstrap_all(figures, len(scores), seed=seed, groups=groups, resamples=RESAMPLES)
        return {name: estimate for name, estimate in found.items() if math.isfinite(estimate.value)}

    def compare(self, first: Sequence[Score], second: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        """Return first minus second for each figure: two systems on the same samples, always paired.

        Raises ValueError if the samples are not the same, in the same order.
        """
        if [score.sample.id for score in first] != [score.sample.id for score in second]:
            raise ValueError("a paired comparison needs the same samples in the same order on both sides.")
        groups = [score.sample.cluster for score in first]
        a, b = (self.corpus(scores) if scores else None for scores in (first, second))
        if a is None or b is None:
            names = [name for name in first[0].values if name in second[0].values] if first else []
            values = {name: [[score.values[name] for score in scores] for scores in (first, second)] for name in names}
            return {name: difference(x, y, groups=groups) for name, (x, y) in values.items()}
        found = bootstrap_difference(a, b, len(first), seed=seed, groups=groups, resamples=RESAMPLES)
        return {name: estimate for name, estimate in found.items() if math.isfinite(estimate.value)}

    def can_read(self, what: Reads) -> bool:
        """Return whether a task that makes this kind of output gives it to the scorer."""
        return what in ((self.reads,) if isinstance(self.reads, str) else self.reads)

    def is_lower_better(self, figure: str) -> bool:
        """Return whether less of this figure is better."""
        return self.lower_is_better or figure in self.lower_figures

    def signature(self) -> str:
        """Return what exactly was computed, short enough for a table's note."""
        return ""

    def note(self, scores: Sequence[Score]) -> str:
        """Return the signature with what it owes to these scores, such as the number of references."""
        return self.signature()
