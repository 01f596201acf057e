"""The held-out split: which documents are never trained on, so that evaluation means something.

Whole groups (a top-level module, a file) go to one side, in an order given by a hash of seed and group: the same module lands
on the same side whatever the order of the documents. It does not look for near duplicates across the two sides.

    python -c "from septet.data.split import HeldOut; print(HeldOut(by='module', share=0.1))"
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from septet.data.documents import Document

__all__ = ["HeldOut", "Split"]


class Split(BaseModel):
    """The two sides, in the order of the documents, and the unit that was really used."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    train: tuple[Document, ...]
    held_out: tuple[Document, ...]
    by: str


class HeldOut(BaseModel):
    """How much is held out, and which documents stay together."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    by: Literal["group", "module", "document"] = "group"
    """group: documents of a group stay together (a module; a file). module: the same. document: each on its own."""
    share: float = Field(default=0.1, ge=0, le=0.5)
    """Share of the text, in bytes."""
    seed: int = 0
    """Another seed, another choice of groups."""

    def split(self, docs: Sequence[Document]) -> Split:
        """Both sides. Where all documents are of one group, single documents are held out instead."""
        by = "document" if self.by == "document" else "group"
        if by == "group" and len({doc.group or doc.id for doc in docs}) < 2:
            by = "document"
        unit = {doc.id: doc.id if by == "document" else doc.group or doc.id for doc in docs}
        sizes: dict[str, int] = {}
        for doc in docs:
            sizes[unit[doc.id]] = sizes.get(unit[doc.id], 0) + len(doc.text.encode("utf-8", "surrogatepass"))
        chosen = self._choose(sizes)
        train = tuple(doc for doc in docs if unit[doc.id] not in chosen)
        return Split(train=train, held_out=tuple(doc for doc in docs if unit[doc.id] in chosen), by=by)

    def _choose(self, sizes: dict[str, int]) -> set[str]:
        """Groups in the order of their hash, as long as they fit: a group that would overshoot is passed over."""
        target = self.share * sum(sizes.values())
        if target <= 0 or len(sizes) < 2:
            return set()
        order = sorted(
            sizes, key=lambda name: hashlib.sha256(f"{self.seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
        )
        chosen: set[str] = set()
        total = 0
        for name in order:
            if total >= target:
                break
            if total + sizes[name] <= 1.1 * target:
                chosen.add(name)
                total += sizes[name]
        if not chosen:  # every group is larger than the share: the smallest one, so that something can be measured
            chosen.add(min(order, key=lambda name: sizes[name]))
        return chosen
