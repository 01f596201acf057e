"""Drops near duplicates: documents whose words overlap, found by MinHash; of each family the smallest id stays.

Presets: fineweb (shingles of 5 words, 14 bands of 8 rows: of the pairs at Jaccard similarity .7 it catches 56 %, at .8 92 %;
FineWeb, arXiv:2406.17557) and lee (450 bands of 20 rows, 30 % at .7, 99 % at .8; Lee et al. 2022, arXiv:2107.06499). Families are
twins of twins: a chain of similar documents is one family. Which one stays does not depend on order, shards or processes.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters minhash-dedup
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from septet.data.documents import Document
from septet.data.filter import Drop
from septet.data.minhash import band_keys, signatures
from septet.data.survey import Survey, Verdicts

__all__ = ["MinhashDedup"]

PRESETS = {"fineweb": (5, 14, 8), "lee": (5, 450, 20)}


class MinhashDedup(Survey):
    """One of each family of similar documents."""

    preset: Literal["fineweb", "lee"] = "fineweb"
    """Published settings; the fields below change them."""
    ngram: int | None = Field(default=None, ge=1, le=64)
    """Words in a shingle."""
    bands: int | None = Field(default=None, ge=1, le=4096)
    """More bands catch more."""
    rows: int | None = Field(default=None, ge=1, le=256)
    """More rows in a band catch less."""
    seed: int = Field(default=0, ge=0)
    """Draws the hash functions."""

    def settings(self) -> tuple[int, int, int]:
        """(words in a shingle, bands, rows)."""
        ngram, bands, rows = PRESETS[self.preset]
        return self.ngram or ngram, self.bands or bands, self.rows or rows

    def keys(self, docs: Sequence[Document]) -> tuple[np.ndarray, np.ndarray]:
        ngram, bands, rows = self.settings()
        found = signatures([doc.text for doc in docs], ngram=ngram, permutations=bands * rows, seed=self.seed)
        filled = np.flatnonzero(found[:, 0] != np.iinfo(np.uint64).max)  # a document without words is nobody's twin
        return band_keys(found[filled], bands, rows).reshape(-1, 2), np.repeat(filled, bands)

    def act(self, doc: Document, gone: dict[int, int], verdicts: Verdicts, drop: Drop) -> Document | None:
        drop(doc, f"nearly the same text as {verdicts.name(gone[0])}")
        return None
