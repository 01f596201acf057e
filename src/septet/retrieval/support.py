"""Is a sentence that a model wrote supported by the passages it was given?

A sentence is supported when nearly all of its content words, and every number and name in it, occur in the passages. This is a
test of words, strict on purpose: a small model's invention is caught, and a right paraphrase in other words is refused too.

What it is not: a judge of truth, or of entailment ("a is not b" passes where the passage says "a is b").

    python -m pytest tests/retrieval/test_support.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from septet.retrieval.text import content_words

__all__ = ["Support", "sentences", "supported"]

COVERED = 0.8
"""The share of a sentence's content words that the passages must hold."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(])|\n\s*\n")
_EXACT = re.compile(r"`([^`]+)`|((?<![\w.])-?\d+(?:\.\d+)*)|([^\W\d]\w*(?:\.\w+)+|\w*[^\W_]_\w+|[^\W\d]\w*(?=\())")


@dataclass(frozen=True, slots=True)
class Support:
    """The verdict: whether it is supported, the share of content words found, and the exact names and numbers that are missing."""

    supported: bool
    covered: float
    missing: tuple[str, ...] = ()


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, stripped, in order; a dot inside a name does not end one."""
    return [part.strip() for part in _SENTENCE.split(text) if part and part.strip()]


def supported(sentence: str, passages: Sequence[str]) -> Support:
    """Return whether the passages hold what the sentence says. A sentence with no content word is not supported."""
    together = "\n".join(passages)
    wanted = content_words(sentence)
    if not wanted:
        return Support(False, 0.0)
    covered = len(wanted & content_words(together)) / len(wanted)
    exact = [next(group for group in match.groups() if group) for match in _EXACT.finditer(sentence)]
    missing = tuple(dict.fromkeys(name for name in exact if not _holds(together, name.rstrip("."))))
    return Support(covered >= COVERED and not missing, covered, missing)


def _holds(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", text) is not None
