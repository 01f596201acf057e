"""Exact match: the share of answers that equal a reference, raw and after SQuAD's normalisation.

`exact_match` compares the texts as they are, but for white space at both ends; `exact_match_normalised` lower-cases, drops
punctuation and the articles a, an, the, and joins white space (Rajpurkar et al. 2016, the evaluation script of SQuAD 1.1).
Where there are several references, one of them suffices. Wilson intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from septet.evals.normalise import normalised
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.stats import Estimate, proportion

__all__ = ["ExactMatch"]


class ExactMatch(Scorer):
    """Raw and normalised exact match."""

    reads: ClassVar[Reads] = "text"

    def score(self, sample: Sample, output: Output) -> Score:
        said, expected = output.text.strip(), [text.strip() for text in sample.references]
        return Score(
            sample,
            {
                "exact_match": float(said in expected),
                "exact_match_normalised": float(normalised(said) in map(normalised, expected)),
            },
        )

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        return {
            name: proportion(int(sum(score.values[name] for score in scores)), len(scores))
            for name in ("exact_match", "exact_match_normalised")
        }

    def signature(self) -> str:
        return "raw: white space at the ends removed; normalised: SQuAD 1.1"
