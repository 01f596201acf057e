"""Sources: where documents come from. A family; its members are the files of `septet.data.sources`.

A source reads and says where each document comes from. It does not choose what is trained on: that is the filters' work.

    python -c "from septet.data.source import Source; print(next(Source.parse('python-docs').read()).name)"
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from septet.core.component import Component
from septet.data.documents import Document

__all__ = ["Source"]


class Source(Component):
    """A place that documents are read from."""

    drawer: ClassVar[str] = "septet.data.sources"

    @abstractmethod
    def read(self) -> Iterator[Document]:
        """Every document, in an order that does not change. Ids are unique. Errors: DataError with file and row."""

    def skipped(self) -> tuple[tuple[str, str], ...]:
        """(file, reason) of what the last complete `read` could not use."""
        return ()

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of every byte that `read` depends on beyond the fields."""
