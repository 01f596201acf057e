"""The held-out split: which documents are never trained on, so that evaluation means something.

Whole groups (a top-level module, a file) go to one side, in an order given by a hash of seed and group: the same module lands
on the same side whatever the order of the documents. With more groups than can be held in memory, a threshold on the
hash takes the place of the order. It does not look for near duplicates across the two sides.

    python -c "from septet.data.split import HeldOut; print(HeldOut(by='module', share=0.1))"
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from septet.data.documents import Document

__all__ = ["Held", "HeldOut", "Sizes", "Split", "fill"]

Sizes = Callable[[], Iterable[tuple[str, int]]]
"""Gives (unit, bytes) as often as it is called; a unit may come several times."""

MOST = 200_000
"""Units whose sizes are held one by one."""
BUCKETS = 1 << 16


class Split(BaseModel):
    """The two sides, in the order of the documents, and the unit that was really used."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    train: tuple[Document, ...]
    held_out: tuple[Document, ...]
    by: str


@dataclass(frozen=True)
class Held:
    """What is held out: units by name, or those whose hash is below a threshold. by: "group" or "document"."""

    by: str
    units: frozenset[str] | None
    seed: int = 0
    below: int = 0

    def __contains__(self, doc: Document) -> bool:
        unit = unit_of(doc, self.by)
        return unit in self.units if self.units is not None else _bucket(self.seed, unit) < self.below


def unit_of(doc: Document, by: str) -> str:
    """The name of the group that a document belongs to, its id where it has none."""
    return doc.id if by == "document" else doc.group or doc.id


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
        """Both sides of documents in memory."""

        def sizes(by: str) -> Iterable[tuple[str, int]]:
            return ((unit_of(doc, by), len(doc.text.encode("utf-8", "surrogatepass"))) for doc in docs)

        held = self.choose(lambda: sizes("group"), lambda: sizes("document"))
        train = tuple(doc for doc in docs if doc not in held)
        return Split(train=train, held_out=tuple(doc for doc in docs if doc in held), by=held.by)

    def choose(self, groups: Sizes, documents: Sizes) -> Held:
        """Choose from the sizes of the groups, or of the documents. With one group alone, documents are held out instead."""
        if self.by != "document":
            names = set()
            for name, _ in groups():
                names.add(name)
                if len(names) > 1:
                    return self._choose("group", groups)
        return self._choose("document", documents)

    def _choose(self, by: str, sizes: Sizes) -> Held:
        total: dict[str, int] = {}
        for name, size in sizes():
            total[name] = total.get(name, 0) + size
            if len(total) > MOST:
                return self._by_bucket(by, sizes)
        return Held(by, frozenset(fill(total, self.share, self.seed)))

    def _by_bucket(self, by: str, sizes: Sizes) -> Held:
        """Units with the smallest hashes, up to the share: 65,536 sums in place of a list of all units."""
        sums = np.zeros(BUCKETS, np.int64)
        for name, size in sizes():
            sums[_bucket(self.seed, name)] += size
        below = int(np.searchsorted(np.cumsum(sums), self.share * sums.sum(), side="right"))
        return Held(by, None, self.seed, below)


def fill(sizes: Mapping[str, int], share: float, seed: int) -> set[str]:
    """Choose units in the order of their hash, as long as they fit: one that would overshoot the share is passed over.

    Of units that are all larger than the share, the smallest one is chosen, so that something can be measured.
    """
    target = share * sum(sizes.values())
    if target <= 0 or len(sizes) < 2:
        return set()
    order = sorted(sizes, key=lambda name: _hash(seed, name))
    chosen: set[str] = set()
    total = 0
    for name in order:
        if total >= target:
            break
        if total + sizes[name] <= 1.1 * target:
            chosen.add(name)
            total += sizes[name]
    return chosen or {min(order, key=lambda name: sizes[name])}


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()


def _bucket(seed: int, name: str) -> int:
    return int.from_bytes(_hash(seed, name)[:2], "big")
