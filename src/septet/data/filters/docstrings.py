"""Keeps documentation and drops code: source text, and docstrings that are nothing but code or numbers.

Short docstrings stay: many good ones have fewer than twenty words, so rules made for web pages would drop the best answers.

    septet corpus --source python-docs --filters docstrings
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from septet.data.documents import Document
from septet.data.filter import Drop, Filter

__all__ = ["Docstrings"]


class Docstrings(Filter):
    """Documentation, not code."""

    min_letters: float = Field(default=0.5, ge=0, le=1)
    """Least share of letters and spaces in the documentation."""
    private: bool = True
    """Also keep the documentation of names that are not for users: it is language all the same."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        for doc in docs:
            body = str(doc.meta.get("doc") or doc.text)
            letters = sum(character.isalpha() or character.isspace() for character in body)
            if doc.meta.get("type") == "code":
                drop(doc, "source code")
            elif not doc.public and not self.private:
                drop(doc, "private name")
            elif not any(character.isalpha() for character in body):
                drop(doc, "no words")
            elif letters < self.min_letters * len(body):
                drop(doc, "mostly signs and numbers")
            else:
                yield doc
