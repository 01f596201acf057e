"""Drops exact duplicates: of documents with the same text the one with the smallest id stays; or of lines, of paragraphs.

Texts are compared after Unicode NFKC, case folding and joining of white space. Of documents, which one stays does not depend on
their order; of lines and paragraphs, the first stays, in the order of the source, and short ones are left alone, since
a chapter's number may well stand in every book. Near duplicates are for `minhash-dedup`.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters exact-dedup
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from septet.data.documents import Document
from septet.data.filter import Drop, count
from septet.data.survey import Survey, Verdicts, as_keys, hashed

__all__ = ["ExactDedup", "folded"]

_PARAGRAPHS = re.compile(r"(\n[^\S\n]*\n\s*)")
_LINES = re.compile(r"(\n)")


class ExactDedup(Survey):
    """One copy of each text."""

    of: Literal["text", "doc", "line", "paragraph"] = "text"
    """Compare whole texts; the docstrings without name and signature; every line; every paragraph."""
    min_words: int = Field(default=5, ge=1)
    """Lines and paragraphs with fewer words are left alone."""

    @property
    def pieces(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.of in ("line", "paragraph")

    def units(self, doc: Document) -> int:
        return len(self._cut(doc)[::2]) if self.pieces else 1

    def keys(self, docs: Sequence[Document]) -> tuple[np.ndarray, np.ndarray]:
        found: list[bytes] = []
        owner: list[int] = []
        unit = 0
        for doc in docs:
            if self.pieces:
                for piece in self._cut(doc)[::2]:
                    text = folded(piece)
                    if text.count(" ") + 1 >= self.min_words and text:
                        found.append(hashed(text))
                        owner.append(unit)
                    unit += 1
            else:
                body = doc.text if self.of == "text" else str(doc.meta.get("doc") or doc.text)
                found.append(hashed(folded(body)))
                owner.append(unit)
                unit += 1
        return as_keys(found), np.array(owner, np.int64)

    def act(self, doc: Document, gone: dict[int, int], verdicts: Verdicts, drop: Drop) -> Document | None:
        if not self.pieces:
            drop(doc, f"same text as {verdicts.name(gone[0])}")
            return None
        parts = self._cut(doc)
        count(drop, f"{self.of}s", len(gone))
        # a piece goes together with the break after it
        kept = [parts[2 * n] + (parts[2 * n + 1] if 2 * n + 1 < len(parts) else "") for n in range((len(parts) + 1) // 2)
                if n not in gone]  # fmt: skip
        text = "".join(kept).strip("\n")
        if text.strip():
            return replace(doc, text=text)
        drop(doc, f"every {self.of} stands in other documents")
        return None

    def _cut(self, doc: Document) -> list[str]:
        """Piece, break, piece, break, ..., piece."""
        return (_LINES if self.of == "line" else _PARAGRAPHS).split(doc.text)


def folded(text: str) -> str:
    """The text as it is compared: NFKC, case folded, single spaces.

    >>> folded("Two  Words\\n")
    'two words'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())
