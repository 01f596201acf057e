"""Drops documents that mention a group of people in a sentence which a classifier finds toxic.

Only the sentences with a mention are judged, so that a document about something else may be as rude as it likes. Classifiers have
been found to hold the mere name of a group against a text (Dixon et al. 2018): audit before and after, and look at how often the
groups are mentioned, or this filter silences the people whom it is meant to protect.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: hostile-mentions, model: toxic, threshold: 0.8}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from pydantic import Field, PrivateAttr

from septet.core.component import ClassifierRef, InputPath
from septet.data.documents import Document
from septet.data.filter import Drop, Filter, count
from septet.data.lexicon import Lexicon, digest

__all__ = ["HostileMentions"]

BATCH = 64  # documents that are judged at a time; more would only take more memory


class HostileMentions(Filter):
    """A bound for the worst sentence about a group of people."""

    model: ClassifierRef
    """The classifier."""
    threshold: float = Field(default=0.8, ge=0, le=1)
    """Documents with a sentence of higher probability are dropped."""
    label: str = ""
    """The label whose probability counts; none: the classifier's positive one."""
    axes: tuple[str, ...] = ("religion", "ethnicity", "nationality", "disability", "orientation")
    """The axes that are looked at. Gender is not among them by default: "he" and "she" stand in most sentences."""
    lexicon: InputPath | None = None
    """A lexicon of your own (see `lexicons/identity.yaml` for its form)."""

    _folders: dict[str, Path] = PrivateAttr(default_factory=dict)

    def fingerprint(self) -> str:
        return digest(self.lexicon)

    def given(self, folders: Mapping[str, Path]) -> None:
        self._folders.update(folders)

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Errors: DataError for an axis that the lexicon lacks; StoreError where the folder holds no classifier."""
        from septet.data.linear import Classifier  # loads scikit-learn when it is used: 1.5 s

        lexicon = Lexicon.read(Path(self.lexicon) if self.lexicon else None)
        for axis in self.axes:
            lexicon.axis(axis)
        classifier = Classifier.open(self._folders[self.model])
        column = classifier.column(self.label)
        stream = iter(docs)
        while batch := list(islice(stream, BATCH)):
            pieces = [list(self._sentences(doc, lexicon)) for doc in batch]
            texts = [sentence for own in pieces for sentence in own]
            found = iter(classifier.probabilities(texts)[:, column] if texts else ())
            for doc, own in zip(batch, pieces, strict=True):
                hostile = sum(float(next(found)) > self.threshold for _ in own)
                count(drop, "sentences judged", len(own))
                if hostile:
                    count(drop, "hostile sentences", hostile)
                    drop(doc, "a hostile sentence about a group of people")
                else:
                    yield doc

    def _sentences(self, doc: Document, lexicon: Lexicon) -> Iterator[str]:
        if doc.language in ("", "en"):
            for sentence, found in lexicon.mentions(doc.text):
                if any(one.axis in self.axes for one in found):
                    yield sentence
