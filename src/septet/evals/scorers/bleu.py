"""BLEU: how many word n-grams of the translations are in their references, from 0 to 100, over the whole corpus.

BLEU = 100 min(1, e^(1 - r/c)) exp(mean_n ln p_n), p_n the precision of n-grams over the corpus (n = 1..4), c and r the lengths of
the translations and of the references nearest in length. Computed by sacrebleu, whose signature is the figure's note: figures
with different signatures cannot be compared. It is a figure of a corpus; a sentence's own value (`bleu` of a sample) only serves
to sort.

Source: Papineni et al. 2002 (P02-1040); Post 2018 (W18-6319).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from septet.evals.sacre import counted, signature
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.stats import Figures, Rows, summed

__all__ = ["Bleu"]


class Bleu(Scorer):
    """Corpus BLEU as sacrebleu computes it."""

    reads: ClassVar[Reads] = "text"
    units: ClassVar[dict[str, str]] = {"bleu": "of 100"}

    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """sacrebleu's tokeniser: 13a for most languages, zh for Chinese, char for Japanese or Thai without a segmenter."""
    lowercase: bool = False
    """Compare without regard to case."""
    smooth_method: Literal["exp", "floor", "add-k", "none"] = "exp"
    """What stands for an n-gram order without a match."""
    max_ngram_order: int = Field(default=4, ge=1, le=8)
    """The longest n-gram."""

    def _metric(self, *, sentence: bool = False) -> Any:
        from sacrebleu.metrics.bleu import BLEU  # 80 ms to import

        return BLEU(
            tokenize=self.tokenize,
            lowercase=self.lowercase,
            smooth_method=self.smooth_method,
            max_ngram_order=self.max_ngram_order,
            effective_order=sentence,  # as `sentence_bleu`: orders longer than the sentence are left out
            force=True,  # no warning about tokenised text
        )

    def score(self, sample: Sample, output: Output) -> Score:
        metric = self._metric(sentence=True)
        counts = counted(metric, output.text, sample.references)
        return Score(sample, {"bleu": float(metric._compute_score_from_stats(list(counts)).score)}, counts)

    def corpus(self, scores: Sequence[Score]) -> Figures:
        metric = self._metric()
        counts = np.asarray([score.parts for score in scores], dtype=np.float64)

        def figures(rows: Rows) -> Mapping[str, float]:
            return {"bleu": float(metric._compute_score_from_stats(summed(counts, rows).tolist()).score)}

        return figures

    def signature(self) -> str:
        return signature(self._metric(), [1])

    def note(self, scores: Sequence[Score]) -> str:
        return signature(self._metric(), [len(score.sample.references) for score in scores])
