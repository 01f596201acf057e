"""Surveys: filters that must see the whole corpus before they can decide about one document.

A survey gives each document (or each of its pieces, such as lines) some keys; equal keys mean twins. Keys are 128-bit hashes, kept
in files in the order of the keys. Twins are found in one range of the key space after the other, so that memory stays bounded, and
a second reading of the corpus acts on what was decided. Nothing depends on how the corpus is cut into shards, nor on
which process reads which shard.

What it is not: an index that can be asked later.

    python -m pytest tests/data/test_survey.py
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np

from septet.data.documents import Document
from septet.data.filter import Drop, Filter

__all__ = [
    "BATCH",
    "Keys",
    "Survey",
    "Verdicts",
    "as_keys",
    "batches",
    "hashed",
    "key_table",
    "smallest_stays",
    "sorted_keys",
    "twins",
]

BATCH = 256
"""Documents that are looked at together: numpy works on many at once, and the memory for them stays small."""

Keys = np.ndarray
"""uint64 [3, K]: the high and the low half of each key, and the unit that has it, numbered through the whole corpus."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The units that have a twin which stays. unit, kept: uint64 [N], the units in rising order; `name` gives a unit's document."""

    unit: np.ndarray
    kept: np.ndarray
    name: Callable[[int], str]

    def among(self, first: int, count: int) -> dict[int, int]:
        """Return unit - first -> the unit that stays, for the units from `first` that do not stay."""
        low, high = np.searchsorted(self.unit, [first, first + count])
        return {
            int(unit) - first: int(kept) for unit, kept in zip(self.unit[low:high], self.kept[low:high], strict=True)
        }


class Survey(Filter):
    """A filter that looks at everything, decides, and then acts."""

    pieces: ClassVar[bool] = False
    """Whether units are pieces of documents (the first copy stays) or documents (the smallest id of all twins stays)."""

    def units(self, doc: Document) -> int:
        """The number of units of a document."""
        return 1

    @abstractmethod
    def keys(self, docs: Sequence[Document]) -> tuple[np.ndarray, np.ndarray]:
        """Return keys, uint64 [K, 2], and for each the number of its unit, int64 [K], counted from 0 within `docs`."""

    @abstractmethod
    def act(self, doc: Document, gone: dict[int, int], verdicts: Verdicts, drop: Drop) -> Document | None:
        """Return what stays of a document some of whose units are gone (number within the document -> unit that stays)."""

    def look(self, docs: Iterable[Document], first: int = 0) -> Iterator[tuple[list[Document], Keys]]:
        """Yield the documents in batches, with their keys; the first unit has the number `first`."""
        for batch in batches(docs, BATCH):
            yield batch, key_table(*self.keys(batch), first)
            first += sum(map(self.units, batch))

    def settle(self, docs: Iterable[Document], verdicts: Verdicts, drop: Drop, first: int = 0) -> Iterator[Document]:
        """Yield what stays of the documents; the first unit has the number `first`."""
        for doc in docs:
            count = self.units(doc)
            gone = verdicts.among(first, count)
            stays = self.act(doc, gone, verdicts, drop) if gone else doc
            if stays is not None:
                yield stays
            first += count

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """All at once, in memory; the corpus step does the same shard by shard."""
        held: list[Document] = []
        found: list[Keys] = []
        for batch, keys in self.look(docs):
            held += batch
            found.append(keys)
        pairs = twins([sorted_keys(found)])
        names = [doc.id for doc in held]
        if self.pieces:
            names = [doc.id for doc in held for _ in range(self.units(doc))]
        else:
            pairs = smallest_stays(pairs, names.__getitem__)
        yield from self.settle(held, Verdicts(pairs[0], pairs[1], names.__getitem__), drop)


def batches(docs: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Yield lists of `size` documents, the last one shorter."""
    docs = iter(docs)
    while batch := list(islice(docs, size)):
        yield batch


def hashed(text: str) -> bytes:
    """128 bits of BLAKE2b."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def as_keys(hashes: Sequence[bytes]) -> np.ndarray:
    """Return uint64 [K, 2] from hashes of 16 bytes."""
    # frombuffer refuses an empty buffer
    return np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 2) if hashes else np.empty((0, 2), np.uint64)


def key_table(keys: np.ndarray, owner: np.ndarray, first: int) -> Keys:
    """Return the keys [K, 2] with the units that have them, `owner` counted from `first`."""
    return np.stack([keys[:, 0], keys[:, 1], owner.astype(np.uint64) + np.uint64(first)])


def sorted_keys(parts: Sequence[Keys]) -> Keys:
    """Return the keys in the order of their high halves; equal ones stay in the order given."""
    keys = np.concatenate(parts, axis=1) if parts else np.empty((3, 0), np.uint64)
    return keys[:, np.argsort(keys[0], kind="stable")]


def twins(parts: Sequence[Keys], low: int = 0, high: int = 2**64) -> np.ndarray:
    """Return uint64 [2, N]: units that share a key with an earlier one, and for each the first unit with that key.

    parts: keys, each part sorted (memory-mapped files will do); only those whose high half is in [low, high) count. The pairs
    are in rising order and without repetition.
    """
    slices = []
    for part in parts:
        start = np.searchsorted(part[0], np.uint64(low))
        end = part.shape[1] if high >= 2**64 else np.searchsorted(part[0], np.uint64(high))
        slices.append(np.asarray(part[:, start:end]))
    keys = sorted_keys(slices)
    same = keys[0, 1:] == keys[0, :-1]
    keys = keys[:, np.append(same, False) | np.append(False, same)] if same.any() else keys[:, :0]
    # few are left, so that sorting by the whole key is cheap
    high_half, low_half, unit = keys[:, np.lexsort(keys[::-1])]
    begins = np.ones(len(unit), bool)
    begins[1:] = (high_half[1:] != high_half[:-1]) | (low_half[1:] != low_half[:-1])
    first = unit[np.maximum.accumulate(np.where(begins, np.arange(len(unit)), 0))]
    pairs = np.stack([unit, first])[:, unit != first]
    return np.unique(pairs, axis=1)


def smallest_stays(pairs: np.ndarray, name: Callable[[int], str]) -> np.ndarray:
    """Return uint64 [2, N]: the units that go and the one that stays for each, from pairs of twins.

    Twins of twins are one family (connected components); of each family the unit with the smallest name stays.
    Memory is about 50 bytes a pair.
    """
    if not pairs.size:
        return pairs
    from scipy.sparse import coo_array  # 0.2 s
    from scipy.sparse.csgraph import connected_components

    units, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    links = coo_array((np.ones(pairs.shape[1], np.int8), (places[0], places[1])), shape=(len(units), len(units)))
    _, family = connected_components(links, directed=False)
    order = np.argsort(family, kind="stable")
    bounds = np.flatnonzero(np.diff(family[order])) + 1
    found = []
    for members in np.split(units[order], bounds):
        kept = min(members.tolist(), key=name)
        gone = members[members != np.uint64(kept)]
        found.append(np.stack([gone, np.full_like(gone, kept)]))
    result = np.concatenate(found, axis=1)
    return result[:, np.argsort(result[0], kind="stable")]
