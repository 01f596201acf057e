"""Adds a copy of each document with its genders exchanged, or puts it in place of half of them.

"She lost her book" becomes "He lost his book" as well: a model then sees both with the same words around them. Documents without
a gendered word get no copy. A copy has the id of its document and "#swapped", and its group, so that a held-out split by group
keeps the two together. The text becomes untrue where it speaks of a known person or of the body; see `septet.data.gender`.

    septet corpus --source '{kind: folder, path: texts/}' --filters counterfactual
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from septet.core.component import InputPath, hash_path
from septet.data.documents import Document
from septet.data.filter import Drop, Filter, count
from septet.data.gender import PATH, read_names, swap
from septet.data.weights import chance

__all__ = ["Counterfactual"]


class Counterfactual(Filter):
    """The same texts with women and men exchanged."""

    mode: Literal["augment", "replace"] = "augment"
    """augment: beside the document; replace: in its place, which keeps the size of the corpus."""
    share: float | None = Field(default=None, ge=0, le=1)
    """Share of the documents with gendered words that this is done to, chosen by a hash; none: all for copies, half in place."""
    names: InputPath | None = None
    """A file with two first names a line, apart by a comma or a tab, to be exchanged as well; none: names stay."""
    seed: int = 0
    """Another seed, another choice of documents."""

    def fingerprint(self) -> str:
        return hash_path(PATH)

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Errors: DataError for a file of names that cannot be used."""
        names = read_names(self.names) if self.names else {}
        share = self.share if self.share is not None else 1.0 if self.mode == "augment" else 0.5
        for doc in docs:
            chosen = doc.language in ("", "en") and chance(self.seed, doc.id) < share
            other, changed = swap(doc.text, names) if chosen else (doc.text, 0)
            if self.mode == "augment" or not changed:
                yield doc
            if changed:
                count(drop, "documents swapped")
                count(drop, "words swapped", changed)
                yield self._copy(doc, other, names)

    def _copy(self, doc: Document, other: str, names: dict[str, str]) -> Document:
        made = doc.with_text(lambda text: other if text == doc.text else swap(text, names)[0])
        made = replace(made, meta={**made.meta, "swapped": True})
        if self.mode == "replace":
            return made
        return replace(made, id=f"{doc.id}#swapped", group=doc.group or doc.id, aliases=())
