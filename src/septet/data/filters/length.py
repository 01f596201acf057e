"""Drops documents that are too short or too long, counted in words.

septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: length, min_words: 5}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from pydantic import Field, model_validator

from septet.data.documents import Document
from septet.data.filter import Drop, Filter

__all__ = ["Length"]


class Length(Filter):
    """Bounds for the number of words; a word is what stands between white space."""

    min_words: int = Field(default=1, ge=0)
    """Shorter documents are dropped."""
    max_words: int | None = Field(default=None, ge=1)
    """Longer documents are dropped; none: no bound."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_words is not None and self.max_words < self.min_words:
            raise ValueError(
                f"max_words ({self.max_words}) is below min_words ({self.min_words}); nothing would be left."
            )
        return self

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        for doc in docs:
            words = len(doc.text.split())
            if words < self.min_words:
                drop(doc, f"fewer than {self.min_words} words")
            elif self.max_words is not None and words > self.max_words:
                drop(doc, f"more than {self.max_words} words")
            else:
                yield doc
