"""Builders: how the rows of a data set come about. A family; its members are the files of `septet.data.builders`.

What a row holds depends on the task: see `septet.data.examples`. Rows are text; tokens and loss masks are the trainer's work.

    python -c "from septet.core.registry import names; print(names('septet.data.builders'))"
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from septet.core.component import Component
from septet.data.documents import Document, JsonValue

__all__ = ["Builder", "Built", "Row", "exchange"]

Row = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Built:
    """The parts of a data set, and what is worth telling about it.

    held_out: what choices are made on. test: what is looked at once; empty where there is none. task: one of
    `septet.data.examples.TASKS`. labels: of a task that has some, in the order of their numbers. columns: role -> the columns it
    was read from. notes: counts. remarks: lines for people.
    """

    train: list[Row]
    held_out: list[Row]
    notes: dict[str, int] = field(default_factory=dict)
    test: list[Row] = field(default_factory=list)
    task: str = "chat"
    labels: list[str] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class Builder(Component):
    """A way to make the rows of a data set."""

    drawer: ClassVar[str] = "septet.data.builders"
    reads_corpus: ClassVar[bool] = True
    """False: the rows come from elsewhere and no corpus is needed."""

    @abstractmethod
    def build(self, train: Sequence[Document], held_out: Sequence[Document], *, seed: int) -> Built:
        """Rows from the training documents, and apart from them rows from the held-out ones. Same seed, same rows."""


def exchange(question: str, answer: str, *, document: str, kind: str) -> Row:
    """A row of one question and its answer."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "document": document, "kind": kind}
