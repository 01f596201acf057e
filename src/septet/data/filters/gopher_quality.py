"""Gopher's quality rules: word counts and lengths, symbols, bullets, ellipses, letters, stop words.

The rules of the paper's Appendix A1.1 as datatrove codes them: words are those of a tokenizer (see `septet.data.quality`),
and two *different* stop words are needed. They suit English prose, and drop poems, tables, code and short answers. Because
punctuation counts as words in the share of words with a letter, prose with many names, dates and figures goes too;
`punctuation_is_words: false` keeps it, as in the paper's words.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters gopher-quality
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Self

from pydantic import Field, model_validator

from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.quality import PUNCTUATION, words

__all__ = ["GopherQuality"]


class GopherQuality(Filter):
    """Rae et al. 2021 (arXiv 2112.11446), A1.1; datatrove pipeline/filters/gopher_quality_filter.py."""

    min_words: int = Field(default=50, ge=0)
    """Fewer words, punctuation aside, drop a document."""
    max_words: int = Field(default=100_000, ge=1)
    """More words, punctuation aside, drop it."""
    min_mean_word_length: float = Field(default=3, ge=0)
    """Least mean length of a word, in characters, punctuation aside."""
    max_mean_word_length: float = Field(default=10, gt=0)
    """Greatest mean length of a word, in characters, punctuation aside."""
    max_symbols_per_word: float = Field(default=0.1, ge=0)
    """Most "#" for each word; and likewise, counted apart, ellipses (three dots or one character)."""
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1)
    """Greatest share of lines that begin with a bullet or a hyphen."""
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1)
    """Greatest share of lines that end in an ellipsis."""
    min_words_with_letter: float = Field(default=0.8, ge=0, le=1)
    """Least share of words that hold a letter."""
    punctuation_is_words: bool = True
    """Count punctuation marks among the words of the shares of symbols and of words with a letter, as datatrove does today."""
    min_stop_words: int = Field(default=2, ge=0)
    """How many different stop words a document needs, in small letters."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """The stop words; for another language than English give its own."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for low, high in (("min_words", "max_words"), ("min_mean_word_length", "max_mean_word_length")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} ({getattr(self, low)}) is above {high} ({getattr(self, high)}).")
        if self.min_stop_words > len(set(self.stop_words)):
            raise ValueError(f"min_stop_words ({self.min_stop_words}) is more than there are stop_words.")
        return self

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        stop_words = frozenset(self.stop_words)
        for doc in docs:
            reason = self._fault(doc.text, stop_words)
            if reason:
                drop(doc, reason)
            else:
                yield doc

    def _fault(self, text: str, stop_words: frozenset[str]) -> str:
        """The first rule that the text breaks, in datatrove's order, or ""."""
        pieces = Counter(text.split())
        every = number = characters = lettered = 0
        for piece, copies in pieces.items():
            if piece.isalpha():
                every += copies
                number += copies
                characters += copies * len(piece)
                lettered += copies
            else:
                found = _counts(piece) if len(piece) < _LONG else _counts.__wrapped__(piece)
                every += copies * found[0]
                number += copies * found[1]
                characters += copies * found[2]
                lettered += copies * found[3]
        if number < self.min_words:
            return f"fewer than {self.min_words} words"
        if number > self.max_words:
            return f"more than {self.max_words} words"
        mean = characters / max(number, 1)
        total = max(every if self.punctuation_is_words else number, 1)
        if mean < self.min_mean_word_length:
            return f"mean word length below {self.min_mean_word_length:g}"
        if mean > self.max_mean_word_length:
            return f"mean word length above {self.max_mean_word_length:g}"
        if text.count("#") / total > self.max_symbols_per_word:
            return "too many hash signs"
        if (text.count("...") + text.count("…")) / total > self.max_symbols_per_word:
            return "too many ellipses"
        lines = text.splitlines()
        if "•" in text or "-" in text:
            bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines)
            if bullets / len(lines) > self.max_bullet_lines:
                return "too many lines with bullets"
        if "..." in text or "…" in text:
            ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
            if ellipses / len(lines) > self.max_ellipsis_lines:
                return "too many lines that end in an ellipsis"
        if lettered / total < self.min_words_with_letter:
            return "too few words with a letter"
        if self.min_stop_words:
            seen = stop_words.intersection(pieces)
            if len(seen) < self.min_stop_words:
                seen |= stop_words.intersection(word for piece in pieces for word in words(piece))
                if len(seen) < self.min_stop_words:
                    return f"fewer than {self.min_stop_words} stop words"
        return ""


_LONG = 32  # characters; longer pieces are not worth remembering


@lru_cache(2**16)
def _counts(piece: str) -> tuple[int, int, int, int]:
    """Of what stands between white space: words and marks, words, characters of words, words with a letter."""
    found = words(piece)
    real = [word for word in found if not PUNCTUATION.issuperset(word)]
    return len(found), len(real), sum(map(len, real)), sum(any(map(str.isalpha, word)) for word in real)
