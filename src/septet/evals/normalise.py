"""SQuAD's normalisation of an answer, which exact match and the span metrics share.

What it is not: a normalisation for other languages; the articles are English (MLQA and XQuAD use others).

    python -m pytest tests/evals/scorers/test_squad.py
"""

from __future__ import annotations

import re
import string

__all__ = ["normalised"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation and the articles a, an, the, words joined by one space.

    Rajpurkar et al. 2016 (D16-1264), the evaluation script of SQuAD 1.1.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
