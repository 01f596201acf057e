"""Log loss: the mean of -ln p(right label), which a sure and wrong answer makes large.

scikit-learn's `log_loss`: natural logarithm, p kept within the precision of a 64-bit float (so that one text costs at most 36).
ln(number of labels) is what equal probabilities give. Systems without probabilities get no figure.

Source: Good 1952, the logarithmic score.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import ClassVar

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import probabilities, with_probabilities
from septet.evals.stats import Estimate

__all__ = ["LogLoss"]

_LEAST = sys.float_info.epsilon


class LogLoss(Scorer):
    """Mean -ln p of the right label."""

    reads: ClassVar[Reads] = "label"
    lower_is_better: ClassVar[bool] = True
    units: ClassVar[dict[str, str]] = {"log_loss": "nats"}

    def score(self, sample: Sample, output: Output) -> Score:
        found = probabilities(output, sample)
        if not found:
            return Score(sample, {})
        if not isinstance(sample.expected, str):
            raise DataError(f"sample '{sample.id}': log loss needs one right label; got {sample.expected!r}.")
        return Score(sample, {"log_loss": -math.log(min(max(found[sample.expected], _LEAST), 1 - _LEAST))})

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        return super().reduce(with_probabilities(scores), seed=seed)

    def signature(self) -> str:
        return "natural logarithm; p clipped at 2.2e-16"
