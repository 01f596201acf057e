"""Drops documents that a classifier trained by the step `classifier` finds toxic.

A long document is judged by windows of words, and the worst window counts: one abusive paragraph is not diluted by a long page.
The other side of it: the longer a document, the likelier a window is wrongly above the threshold. The classifier sees n-grams; it
takes quotation and talk about abuse for abuse, and may hold names of groups against those who mention them: measure that first.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: toxicity, model: toxic, threshold: 0.8}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator

from septet.core.component import ClassifierRef
from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.linear import Classifier

__all__ = ["Toxicity", "windows"]

BATCH = 64  # documents that are judged at a time; more would only take more memory


class Toxicity(Filter):
    """A bound for the probability of one label."""

    model: ClassifierRef
    """The classifier."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Documents with a higher probability are dropped."""
    label: str = ""
    """The label whose probability counts; empty: the one that the classifier was trained with as `positive`."""
    window: int = Field(default=200, ge=10)
    """Words that are judged at a time; comments like those that the classifier learned from are seldom longer."""

    @field_validator("label", mode="before")
    @classmethod
    def _as_written(cls, label: Any) -> Any:
        # YAML reads True and 1 as something else than the label of a table
        return str(label) if isinstance(label, bool | int) else label

    _classifier: Classifier | None = PrivateAttr(default=None)

    def given(self, folders: Mapping[str, Path]) -> None:
        """Errors: StoreError where the folder holds no classifier; DataError where it has no such label."""
        self._classifier = Classifier.open(folders[self.model])
        self._classifier.column(self.label)

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """meta["toxicity"] of a document that stays is its probability, to four digits."""
        assert self._classifier is not None, "given() comes first"
        column, stream = self._classifier.column(self.label), iter(docs)
        while batch := list(islice(stream, BATCH)):
            pieces = [windows(doc.text, self.window) for doc in batch]
            found = self._classifier.probabilities([piece for own in pieces for piece in own])[:, column]
            end = 0
            for doc, own in zip(batch, pieces, strict=True):
                start, end = end, end + len(own)
                worst = float(found[start:end].max())
                if worst > self.threshold:
                    drop(doc, "more toxic than the threshold")
                else:
                    yield replace(doc, meta={**doc.meta, "toxicity": round(worst, 4)})


def windows(text: str, words: int) -> list[str]:
    """The text in pieces of so many words; the last piece is full as well, so that it overlaps the one before it.

    >>> windows("a b c d e", 2)
    ['a b', 'c d', 'd e']
    """
    known = text.split()
    if len(known) <= words:
        return [text]
    starts = [*range(0, len(known) - words, words), len(known) - words]
    return [" ".join(known[start : start + words]) for start in starts]
