"""Takes out training documents, or passages of them, that share runs of words with evaluation sets.

A document is contaminated where `ngram` words in a row are those of an evaluation item, whatever the case, the punctuation and the
spaces. The rule of GPT-3 (Brown et al. 2020, appendix C): 13 words; `cut` takes the match out with 200 characters on either side,
and leaves a document out that would fall into more than ten pieces. Items shorter than 13 words are met whole, from 8 words on.
It meets no paraphrases and no translations. Which items were met is in the counts of the report, one a line: "FILE:ID".

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: decontaminate, against: [test.jsonl]}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from septet.core.component import DatasetRef, InputPath
from septet.data.documents import Document
from septet.data.filter import Drop, Filter, count
from septet.data.ngrams import Matches, Targets, targets, word_places

__all__ = ["Decontaminate"]


class Decontaminate(Filter):
    """Evaluation sets, and what happens to documents that hold parts of them."""

    against: tuple[InputPath, ...] = ()
    """Files or folders of evaluation sets: json, jsonl, csv, tsv, text, plain or .gz; SQuAD's layout too."""
    datasets: tuple[DatasetRef, ...] = ()
    """Data sets of the store whose held-out rows are evaluated on."""
    mode: Literal["drop", "cut"] = "drop"
    """drop: leave the document out. cut: take the shared passage out with some distance on either side."""
    ngram: int = Field(default=13, ge=8, le=64)
    """Words in a row that must be the same."""
    min_hits: int = Field(default=1, ge=1)
    """Documents with fewer matching n-grams stay as they are."""
    too_common: int | None = Field(default=None, ge=1)
    """n-grams that more evaluation items than this share are not looked for, such as an instruction before each of them."""
    distance: int = Field(default=200, ge=0)
    """For cut: characters that are taken out before and after a match."""
    min_chars: int = Field(default=200, ge=1)
    """For cut: shorter pieces are left out."""
    max_pieces: int = Field(default=10, ge=1)
    """For cut: a document that would fall into more pieces is left out."""

    _datasets: tuple[Path, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _against_something(self) -> Self:
        if not self.against and not self.datasets:
            raise ValueError("name the evaluation sets: files in `against`, or data sets of the store in `datasets`.")
        return self

    def given(self, folders: Mapping[str, Path]) -> None:
        self._datasets = tuple(folders[name] / "held_out.jsonl" for name in self.datasets)

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """meta["contamination"] of a contaminated document, kept or dropped, lists the items met.

        Errors: DataError for an evaluation set that cannot be read.
        """
        assert len(self._datasets) == len(self.datasets), "given() comes first"
        known = targets((*self.against, *self._datasets), ngram=self.ngram, too_common=self.too_common)
        for doc in docs:
            matches = known.match(doc.text)
            if matches is None or matches.hits < self.min_hits:
                yield doc
                continue
            met = [known.names[item] for item in matches.items]
            for name in met:
                count(drop, name)
            doc = replace(doc, meta={**doc.meta, "contamination": met})
            if self.mode == "drop":
                drop(doc, "shares words with an evaluation set")
                continue
            pieces = self._pieces(doc.text, matches)
            if len(pieces) > self.max_pieces:
                drop(doc, "shares many passages with an evaluation set")
            elif not pieces:
                drop(doc, "nothing is left beside what an evaluation set holds")
            else:
                count(drop, "cut")
                yield doc.with_text(lambda text: self._cut(text, known))

    def _cut(self, text: str, known: Targets) -> str:
        matches = known.match(text)
        return text if matches is None else "\n\n".join(self._pieces(text, matches))

    def _pieces(self, text: str, matches: Matches) -> list[str]:
        """What is left of a text around its matches, in order."""
        places = word_places(text)
        ends = matches.starts + matches.sizes - 1
        pieces, begin = [], 0
        for first, last in zip(matches.starts.tolist(), ends.tolist(), strict=True):
            start, end = int(places[first, 0]) - self.distance, int(places[last, 1]) + self.distance
            if start > begin:
                pieces.append(text[begin:start])
            begin = max(begin, end)
        pieces.append(text[begin:])
        return [piece.strip() for piece in pieces if len(piece.strip()) >= self.min_chars]
