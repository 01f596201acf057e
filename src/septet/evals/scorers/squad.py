"""SQuAD: exact match and F1 of answers taken from a passage, with questions that have none.

Both texts are normalised (lower case, no punctuation, no articles). Exact match: equal texts. F1: 2 P R / (P + R) over the words
that both have, as often as both have them; where one side is empty, 1 if both are. Of several right answers the best one counts,
for each of the two figures. The means over the questions with and without an answer stand apart.

`best_f1` is the F1 that the best threshold t on the no-answer score would give, had the answers with a higher score been taken as
none, and `best_f1_threshold` is t. That is a choice made on these samples and flatters: choose it on held-out data and set
`threshold`. Both need a no-answer score of every sample and a question without an answer, and go when `threshold` is set.

Shares of 1; the official scripts print them times 100, with the names exact_match (exact) and f1 (HasAns_, NoAns_).

Source: Rajpurkar et al. 2016 (D16-1264), evaluate-v1.1.py; 2018 (P18-2124), evaluate-v2.0.py, `find_best_thresh`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from septet.core.errors import DataError
from septet.evals.normalise import normalised
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import span, text_list
from septet.evals.stats import Estimate, Figures, Rows, mean, proportion

__all__ = ["Squad"]

SLICES = {"": None, ", has answer": True, ", no answer": False}


class Squad(Scorer):
    """Exact match and F1 of the official evaluation scripts."""

    reads: ClassVar[Reads] = "span"
    units: ClassVar[dict[str, str]] = {"best_f1_threshold": "no-answer score"}

    threshold: float | None = None
    """Take the answer as none where its no-answer score is higher than this; null leaves the answers as they are."""

    def score(self, sample: Sample, output: Output) -> Score:
        text, none = span(output.prediction, sample)
        if self.threshold is not None:
            if none is None:
                raise DataError(
                    f"sample '{sample.id}' has no no-answer score, which squad's threshold {self.threshold:g} is compared with; "
                    "leave the threshold out for a system that gives none."
                )
            text = "" if none > self.threshold else text
        answers = text_list(sample.expected, sample, "a list of right answers, empty where there is none")
        # as the script of 2.0: an answer of which normalisation leaves nothing is no answer to compare with
        known = [answer for answer in answers if normalised(answer)] or [""]
        values = {
            "exact_match": max(float(normalised(text) == normalised(answer)) for answer in known),
            "f1": max(word_f1(text, answer) for answer in known),
        }
        return Score(sample, values, (bool(answers), bool(text), none))

    def corpus(self, scores: Sequence[Score]) -> Figures:
        exact, f1 = (np.asarray([score.values[name] for score in scores]) for name in ("exact_match", "f1"))
        answered = np.asarray([score.parts[0] for score in scores])
        said = np.asarray([score.parts[1] for score in scores])
        none = [score.parts[2] for score in scores]
        slices = SLICES if 0 < answered.sum() < len(scores) else {"": None}
        search = self.threshold is None and not answered.all() and all(value is not None for value in none)
        order = np.argsort(np.asarray(none, dtype=np.float64), kind="stable") if search else np.arange(0)
        # what saying the answer instead of none adds: its F1, or -1 where there is none and something was said
        gain = np.where(answered, f1, -1.0 * said)

        def figures(rows: Rows) -> Mapping[str, float]:
            found: dict[str, float] = {}
            for suffix, wanted in slices.items():
                part = rows if wanted is None else rows[answered[rows] == wanted]
                for name, values in (("exact_match", exact), ("f1", f1)):
                    found[name + suffix] = float(values[part].mean()) if len(part) else float("nan")
            if search:
                # from the surest answer on, one more is said instead of none; at first all are none
                drawn = np.bincount(rows, minlength=len(scores))
                sums = np.cumsum(np.concatenate([[drawn[~answered].sum()], (drawn * gain)[order]]))
                best = int(np.argmax(sums))
                found["best_f1"] = float(sums[best] / len(rows))
                found["best_f1_threshold"] = float(none[order[best - 1]]) if best else 0.0
            return found

        return figures

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        found = super().reduce(scores, seed=seed)
        for suffix, wanted in SLICES.items():
            part = [score for score in scores if wanted is None or score.parts[0] == wanted]
            if f"f1{suffix}" in found:
                right = int(sum(score.values["exact_match"] for score in part))
                found[f"exact_match{suffix}"] = proportion(right, len(part))
                groups = [score.sample.cluster for score in part]
                found[f"f1{suffix}"] = mean([score.values["f1"] for score in part], groups=groups)
        return found

    def signature(self) -> str:
        scale = "evaluate-v2.0.py, shares of 1"
        if self.threshold is None:
            return f"{scale}; answers as given; best_f1: threshold chosen on these samples"
        return f"{scale}; no answer where the no-answer score is above {self.threshold:g}"


def word_f1(said: str, right: str) -> float:
    """Return the F1 of the words of two normalised answers: `compute_f1` of the official script."""
    a, b = normalised(said).split(), normalised(right).split()
    if not a or not b:
        return float(a == b)
    same = sum((Counter(a) & Counter(b)).values())
    return 2 * same / (len(a) + len(b))
