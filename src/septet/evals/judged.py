"""One question asked of an index: where the right entry stood, what was cited first, and how sure the answerer was.

Retrieval and evaluation do not import each other. The evaluate step asks the index and hands these records to the retrieval task,
which turns them into figures.

    python -m pytest tests/evals/tasks/test_retrieval.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one question.

    gold: names that answer it; none for a question that the documents do not cover. ranks: for each way of searching, the place
    (from 1) of the first gold name, or None where none was found. cited: names cited, the first first; empty where it refused.
    confidence: the number that the threshold is compared with; larger means surer. refused: it said "not in the documents".
    half: "tune" or "test".
    """

    question: str
    gold: Sequence[str]
    ranks: Mapping[str, int | None]
    confidence: float
    refused: bool
    cited: Sequence[str] = field(default=())
    correct: bool = False
    half: str = "test"

    @property
    def answerable(self) -> bool:
        return bool(self.gold)
