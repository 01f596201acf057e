"""Bits per byte: how many bits a system needs for each UTF-8 byte of a text it has not seen.

bits per byte = -sum log2 p(text, separator) / sum bytes(text). It does not depend on the tokenizer, so models with different
vocabularies, compressors and n-grams stand on one scale. The cost of the separator that ends each document counts, its byte
does not. The interval resamples whole groups of documents.

Source: bits per byte as in Gao et al. 2020 (The Pile, arXiv:2101.00027, section 3.1), there from tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.stats import Estimate, Figures, ratio

__all__ = ["BitsPerByte"]


class BitsPerByte(Scorer):
    """Bits per UTF-8 byte."""

    reads: ClassVar[Reads] = "likelihood"
    lower_is_better: ClassVar[bool] = True
    units: ClassVar[dict[str, str]] = {"bits_per_byte": "bits/byte"}

    def score(self, sample: Sample, output: Output) -> Score:
        return Score(sample, {"bits": output.nll / math.log(2), "bytes": float(len(sample.reference.encode()))})

    def corpus(self, scores: Sequence[Score]) -> Figures:
        bits, size = (np.asarray([score.values[name] for score in scores]) for name in ("bits", "bytes"))
        return lambda rows: {"bits_per_byte": float(bits[rows].sum() / size[rows].sum())}

    def reduce(self, scores: Sequence[Score], *, seed: int) -> dict[str, Estimate]:
        found = ratio(
            [score.values["bits"] for score in scores],
            [score.values["bytes"] for score in scores],
            seed=seed,
            groups=[score.sample.cluster for score in scores],
        )
        return {"bits_per_byte": found}

    def signature(self) -> str:
        return "total bits with separators / total UTF-8 bytes without them"
