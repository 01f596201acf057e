"""Expected calibration error: how far a system's confidence is from how often it is right.

The confidence is the largest probability; the samples fall into M bins of equal width, ((m - 1)/M, m/M]:

    ECE = sum_m |B_m|/N * |share right in B_m - mean confidence in B_m|

0.1 means that confidence and accuracy differ by 10 points on average. With few samples in a bin they differ by chance, so the
error is never 0 and its resamples lie higher than it: compare systems on the same samples only. Systems without probabilities
get no figure.

Source: Guo et al. 2017, arXiv:1706.04599, eq. 3; Naeini et al. 2015. 15 bins as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import probabilities, with_probabilities
from septet.evals.stats import Figures, Rows

__all__ = ["Calibration"]


class Calibration(Scorer):
    """Expected calibration error of the most probable label."""

    reads: ClassVar[Reads] = "label"
    lower_is_better: ClassVar[bool] = True

    bins: int = Field(default=15, ge=1, le=1000)
    """Bins of equal width between 0 and 1."""

    def score(self, sample: Sample, output: Output) -> Score:
        found = probabilities(output, sample)
        if not found:
            return Score(sample, {})
        likeliest = max(sorted(found), key=found.__getitem__)
        return Score(sample, {"correct": float(likeliest == sample.expected), "confidence": found[likeliest]})

    def corpus(self, scores: Sequence[Score]) -> Figures:
        if not with_probabilities(scores):
            return lambda rows: {}
        sure = np.asarray([score.values["confidence"] for score in scores])
        gap = np.asarray([score.values["correct"] for score in scores]) - sure
        edges = np.linspace(0, 1, self.bins + 1)[1:-1]
        place = np.digitize(sure, edges, right=True)  # an edge belongs to the bin below it

        def figures(rows: Rows) -> Mapping[str, float]:
            # |B| * |share right - mean confidence| is the absolute sum of the gaps in the bin
            gaps = np.bincount(place[rows], weights=gap[rows], minlength=self.bins)
            return {"expected_calibration_error": float(np.abs(gaps).sum() / len(rows))}

        return figures

    def signature(self) -> str:
        return f"{self.bins} bins of equal width, largest probability"
