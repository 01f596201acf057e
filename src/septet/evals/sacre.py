"""sacrebleu as the scorers use it: the counts of one sentence, and the signature for the references that there are.

The two hooks are those of sacrebleu's own significance tests (`_extract_corpus_statistics`, `_compute_score_from_stats`), so a
corpus is tokenised once, and every resample is a sum of counts.

    python -m pytest tests/evals/scorers/test_bleu.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["counted", "signature"]


def counted(metric: Any, text: str, references: Sequence[str]) -> tuple[float, ...]:
    """Return what the metric counts in one text beside its references; sums of it give the corpus score."""
    return tuple(map(float, metric._extract_corpus_statistics([text], [[reference] for reference in references])[0]))


def signature(metric: Any, num_references: Sequence[int]) -> str:
    """Return name and signature; `nrefs` is "var" where samples have different numbers of references."""
    most = max(num_references, default=1)
    # sacrebleu knows the number of references only after it has seen some; None stands for one that a sample lacks
    streams = [["a" if place < count else None for count in num_references or [1]] for place in range(most)]
    name = metric.corpus_score(["a"] * max(len(num_references), 1), streams).name
    return f"{name}|{metric.get_signature()}"
