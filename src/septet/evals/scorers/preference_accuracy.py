"""Preference accuracy: how often a model gives the chosen answer a higher likelihood than the rejected one, by kind of pair.

correct = [log p(chosen | prompt) > log p(rejected | prompt)]; ties are wrong. `per: answer` compares the sums over the answers'
tokens (what DPO trains, Rafailov et al. 2023, arXiv:2305.18290), `per: token` the means, which does not favour short answers. The
likelihoods are the policy's own; no reference model is subtracted. Wilson intervals; `margin` is the mean difference in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.stats import Estimate, mean, proportion

__all__ = ["PreferenceAccuracy"]


class PreferenceAccuracy(Scorer):
    """Accuracy over all pairs and for each kind."""

    reads: ClassVar[Reads] = "preference"
    units: ClassVar[dict[str, str]] = {"margin": "nats"}

    per: Literal["answer", "token"] = "answer"
    """Compare whole answers, or the mean over their tokens."""

    def score(self, sample: Sample, output: Output) -> Score:
        chosen, rejected = output.chosen, output.rejected
        if self.per == "token":
            chosen, rejected = chosen / max(output.chosen_tokens, 1), rejected / max(output.rejected_tokens, 1)
        return Score(sample, {"correct": float(chosen > rejected), "margin": chosen - rejected})

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        def accuracy(part: Sequence[Score]) -> Estimate:
            return proportion(int(sum(score.values["correct"] for score in part)), len(part))

        found = {"preference_accuracy": accuracy(scores)}
        for kind in sorted({score.sample.kind for score in scores} - {""}):
            found[f"preference_accuracy, {kind}"] = accuracy([score for score in scores if score.sample.kind == kind])
        groups = [score.sample.cluster for score in scores]
        found["margin"] = mean([score.values["margin"] for score in scores], groups=groups)
        return found

    def signature(self) -> str:
        return f"log p(chosen) > log p(rejected), per {self.per}, ties wrong, no reference model"
