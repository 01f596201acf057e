"""From a question to an answer with its sources, or to "not in the documents".

The documents are trusted, the model is not: its words appear only where `support` finds them in the passages, and they are marked
as the model's own. Otherwise the passages themselves are the answer. Where nothing in the index supports an answer, the answer
says so. The model comes from above, as anything that has `generate(question, passages) -> str`, or is None.

What it is not: a chat. One question, one answer; it keeps no history.

    septet ask "How do I join two paths?"
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from septet.data.documents import Document
from septet.retrieval.index import SearchIndex
from septet.retrieval.retriever import Hit
from septet.retrieval.support import sentences, supported
from septet.retrieval.text import content_words, paragraphs

__all__ = ["NOT_FOUND", "Answer", "Answerer", "Citation", "Generates", "Part", "confidence", "features"]

NOT_FOUND = "This is not in the documents."

LOGIT: dict[str, dict[str, float]] = {
    "dense": {"intercept": -8.76, "cosine": 9.35, "best": 7.23},
    "words": {"intercept": -6.51, "coverage": 5.68, "best": 6.86},
    "asked": {"intercept": -6.23, "cosine": 2.41, "best": 4.29, "asked": 3.11},
}
"""Logistic regressions of "the documents cover this question", fitted on the tune half: with vectors, without, and with vectors
and questions that people asked."""

THRESHOLD = {"dense": 0.45, "words": 0.46, "asked": 0.59}
"""Below it the answer is refused: the value that split the tune half best (balanced accuracy)."""


class Generates(Protocol):
    """A model that answers from passages."""

    def generate(self, question: str, passages: Sequence[str]) -> str:
        """Return the model's answer to the question, given the passages."""
        ...


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a passage stands. `quote` is text of the document, word for word but for white space."""

    number: int
    name: str
    file: str
    line: int
    score: float
    quote: str


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer: the model's words, a quotation, or a notice of the application. `citation` is a citation's number."""

    kind: Literal["model", "quote", "notice"]
    text: str
    citation: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application says. supported: something was cited. confidence: probability that the documents cover the question."""

    question: str
    text: tuple[Part, ...]
    citations: tuple[Citation, ...]
    supported: bool
    confidence: float

    def plain(self) -> str:
        """Return the answer as plain text, with citation numbers in brackets."""
        return "\n\n".join(f"{p.text} [{p.citation}]" if p.citation else p.text for p in self.text)


def features(index: SearchIndex, question: str, hits: Sequence[Hit]) -> dict[str, float]:
    """Return what tells a covered question from one that is not, each in [0, 1] or nearly.

    cosine: the largest among the hits. asked: the largest with a question that people asked of one of them. coverage: the
    largest share of the question's information that one of the first five hits holds (`SearchIndex.coverage`). best: the
    largest share that any document holds. named: 1 where the question writes out a document's name.
    """
    held = index.coverage(question)
    rows = [row for row in (index.row(hit.document.id) for hit in hits[:5]) if row is not None]
    return {
        "cosine": max((hit.parts.get("dense", 0.0) for hit in hits), default=0.0),
        "asked": max(0.0, *(hit.parts.get("asked", 0.0) for hit in hits)) if hits else 0.0,
        "coverage": float(np.max(held[rows], initial=0.0)),
        "best": float(held.max(initial=0.0)),
        "named": float(len(index.named(question)) > 0),
    }


def confidence(found: Mapping[str, float], *, by: Literal["dense", "words", "asked"]) -> float:
    """Return the probability that the documents cover the question: 1 / (1 + exp(-(intercept + sum of weight * feature)))."""
    if found["named"]:
        return 1.0
    weights = LOGIT[by]
    return 1 / (1 + math.exp(-sum(weight * found.get(name, 1.0) for name, weight in weights.items())))


class Answerer:
    """Answers questions from one index. `engine` None quotes only; `k` passages are cited at most."""

    def __init__(
        self, index: SearchIndex, *, engine: Generates | None = None, k: int = 3, threshold: float | None = None
    ) -> None:
        self.index, self.engine, self.k = index, engine, k
        self.by: Literal["dense", "words", "asked"] = (
            "words" if index.vectors is None else "asked" if index.knows_asked else "dense"
        )
        self.threshold = THRESHOLD[self.by] if threshold is None else threshold

    def ask(self, question: str) -> Answer:
        """Return the answer. A question without a word, or one that nothing supports, is answered with a notice and no citation."""
        return self.ask_all([question])[0]

    def ask_all(self, questions: Sequence[str]) -> list[Answer]:
        """Return an answer for each question; their vectors are made together."""
        return [
            self._answer(question, hits)
            for question, hits in zip(questions, self.index.search(questions, max(self.k, 10)), strict=True)
        ]

    def _answer(self, question: str, hits: list[Hit]) -> Answer:
        sure = confidence(features(self.index, question, hits), by=self.by) if hits and question.strip() else 0.0
        if sure < self.threshold:
            return Answer(question, (Part("notice", NOT_FOUND),), (), False, sure)
        cited = tuple(
            Citation(
                number, hit.document.name or hit.document.id, hit.document.file, hit.document.line, hit.score, quote
            )
            for number, hit in enumerate(hits[: self.k], 1)
            if (quote := _quote(hit.document))
        )
        passages = [hit.document.text for hit in hits[: self.k]]
        parts = [*self._model_parts(question, cited, passages), *(Part("quote", c.quote, c.number) for c in cited[:1])]
        return Answer(question, tuple(parts), cited, True, sure)

    def _model_parts(self, question: str, cited: Sequence[Citation], passages: Sequence[str]) -> list[Part]:
        if self.engine is None:
            return []
        written = sentences(self.engine.generate(question, passages))
        verdicts = [supported(sentence, passages) for sentence in written]
        if not written or not all(verdict.supported for verdict in verdicts):
            # one invented sentence makes the rest suspect: the passages are the answer
            return [Part("notice", "The model's own words are not supported by the sources; here is what they say.")]
        return [Part("model", sentence, cited[_closest(sentence, passages)].number) for sentence in written]


def _closest(sentence: str, passages: Sequence[str]) -> int:
    wanted = content_words(sentence)
    return max(range(len(passages)), key=lambda i: (len(wanted & content_words(passages[i])), -i))


def _quote(document: Document, limit: int = 600) -> str:
    """Return the first paragraph, and the signature before it where there is one; cut at a word."""
    first, rest = paragraphs(document)
    signature = document.text.split("\n", 1)[0] if document.meta.get("signature") else ""
    text = f"{signature}\n{first}" if signature else first
    if len(first) < 40 and rest:
        text += "\n" + " ".join(rest.split("\n\n")[0].split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " ..."
