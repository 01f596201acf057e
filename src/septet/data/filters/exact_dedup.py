"""Drops exact duplicates: of documents with the same text, the one with the smallest id stays.

Texts are compared after Unicode NFKC, case folding and joining of white space. Which one stays does not depend on the order
of the documents. Near duplicates are not found. It holds the documents in memory until it has seen the last one.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters exact-dedup
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

from septet.data.documents import Document
from septet.data.filter import Drop, Filter

__all__ = ["ExactDedup"]


class ExactDedup(Filter):
    """One copy of each text."""

    of: Literal["text", "doc"] = "text"
    """Compare the whole text, or the docstring without name and signature."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        kept: dict[bytes, str] = {}
        held: list[tuple[Document, bytes]] = []
        for doc in docs:
            body = doc.text if self.of == "text" else str(doc.meta.get("doc") or doc.text)
            folded = " ".join(unicodedata.normalize("NFKC", body).casefold().split())
            digest = hashlib.sha256(folded.encode("utf-8", "surrogatepass")).digest()
            kept[digest] = min(kept.get(digest, doc.id), doc.id)
            held.append((doc, digest))
        for doc, digest in held:
            if kept[digest] == doc.id:
                yield doc
            else:
                drop(doc, f"same text as {kept[digest]}")
