"""Perplexity under three names, because one model has three that differ: per token, per word, per byte.

With L = -sum log p(text, separator) in nats over all documents:

    token_perplexity = exp(L / tokens)    tokens predicted, the separators among them; depends on the tokenizer
    word_perplexity  = exp(L / words)     words: the original text split at white space
    byte_perplexity  = exp(L / bytes)     UTF-8 bytes of the original text; 2 ** bits per byte

A system without tokens (a byte n-gram, a compressor) has no token perplexity. The interval resamples whole groups of documents.

Source: the names and denominators of the LM evaluation harness (`weighted_perplexity`, `byte_perplexity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.stats import Estimate, Figures, ratio

__all__ = ["Perplexity"]


class Perplexity(Scorer):
    """Token, word and byte perplexity."""

    reads: ClassVar[Reads] = "likelihood"
    lower_is_better: ClassVar[bool] = True
    units: ClassVar[dict[str, str]] = {
        "token_perplexity": "per token",
        "word_perplexity": "per word",
        "byte_perplexity": "per byte",
    }

    def score(self, sample: Sample, output: Output) -> Score:
        text = sample.reference
        return Score(
            sample,
            {
                "nats": output.nll,
                "tokens": float(output.num_tokens),
                "words": float(len(text.split())),
                "bytes": float(len(text.encode())),
            },
        )

    def corpus(self, scores: Sequence[Score]) -> Figures:
        nats = np.asarray([score.values["nats"] for score in scores])
        counts = {
            unit: np.asarray([score.values[f"{unit}s"] for score in scores]) for unit in ("token", "word", "byte")
        }
        return lambda rows: {
            f"{unit}_perplexity": float(np.exp(nats[rows].sum() / count[rows].sum()))
            for unit, count in counts.items()
            if count.any()
        }

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        nats = [score.values["nats"] for score in scores]
        groups = [score.sample.cluster for score in scores]
        found = {}
        for unit in ("token", "word", "byte"):
            counts = [score.values[f"{unit}s"] for score in scores]
            if sum(counts):
                found[f"{unit}_perplexity"] = ratio(nats, counts, seed=seed, groups=groups, transform=np.exp)
        return found

    def signature(self) -> str:
        return "exp(total nats / total tokens, words at white space, or UTF-8 bytes)"
