"""chrF: how many character n-grams an answer shares with its reference, from 0 to 100.

chrF = (1 + b^2) P R / (b^2 P + R), P and R the precision and recall of character n-grams averaged over n = 1..6, b = 2. The
default is sacrebleu's chrF2, computed by sacrebleu; `word_order: 2` is chrF++. Two figures: `chrf` of the corpus, from the summed
counts (sacrebleu's `corpus_score`), and `chrf_mean`, the mean of the answers' own scores. Of several references the best one
counts. The interval of the first resamples whole groups of samples.

Source: Popovic 2015 (W15-3049), 2017 (W17-4770); Post 2018 (W18-6319) for the signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from septet.evals.sacre import counted, signature
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.stats import Estimate, Figures, Rows, mean, summed

__all__ = ["Chrf"]


class Chrf(Scorer):
    """chrF2 as sacrebleu computes it."""

    reads: ClassVar[Reads] = "text"
    units: ClassVar[dict[str, str]] = {"chrf": "of 100", "chrf_mean": "of 100"}

    char_order: int = Field(default=6, ge=1, le=10)
    """The longest character n-gram."""
    word_order: int = Field(default=0, ge=0, le=3)
    """The longest word n-gram; 2 is chrF++."""
    beta: int = Field(default=2, ge=1, le=5)
    """How many times as much recall weighs as precision."""

    def _metric(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF  # 80 ms to import

        return CHRF(char_order=self.char_order, word_order=self.word_order, beta=self.beta)

    def score(self, sample: Sample, output: Output) -> Score:
        metric = self._metric()
        counts = counted(metric, output.text, sample.references)
        return Score(sample, {"chrf": float(metric._compute_score_from_stats(list(counts)).score)}, counts)

    def corpus(self, scores: Sequence[Score]) -> Figures:
        metric = self._metric()
        counts = np.asarray([score.parts for score in scores], dtype=np.float64)
        own = np.asarray([score.values["chrf"] for score in scores])

        def figures(rows: Rows) -> Mapping[str, float]:
            score = metric._compute_score_from_stats(summed(counts, rows).tolist()).score
            return {"chrf": float(score), "chrf_mean": float(own[rows].mean())}

        return figures

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        groups = [score.sample.cluster for score in scores]
        found = super().reduce(scores, seed=seed)
        return {**found, "chrf_mean": mean([score.values["chrf"] for score in scores], groups=groups)}

    def signature(self) -> str:
        return signature(self._metric(), [1])

    def note(self, scores: Sequence[Score]) -> str:
        return signature(self._metric(), [len(score.sample.references) for score in scores])
