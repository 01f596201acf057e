"""Sources: where documents come from. A family; its members are the files of `septet.data.sources`.

A source reads and says where each document comes from. It does not choose what is trained on: that is the filters' work. What it
cannot read it names, and goes on: one damaged file among a million is no reason to lose the others.

    python -c "from septet.data.source import Source; print(next(Source.parse('python-docs').read()).name)"
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from septet.core.component import Component
from septet.core.errors import DataError
from septet.data.documents import Document

__all__ = ["Bad", "Part", "Source", "stop"]

Bad = Callable[[str, str], None]
"""Called with (place, reason) for what cannot be read: a file, "file, row 7", "file, byte 1024"."""


def stop(place: str, reason: str) -> None:
    """The strictest way to take something that cannot be read: stop with a DataError."""
    raise DataError(reason, file=place)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a source that is read by itself, such as a file. size: bytes as stored, 0 where unknown."""

    name: str
    size: int = 0


class Source(Component):
    """A place that documents are read from."""

    drawer: ClassVar[str] = "septet.data.sources"

    def parts(self) -> Sequence[Part]:
        """The pieces that may be read apart, by other processes too; always in the same order."""
        return (Part(""),)

    @abstractmethod
    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """The documents of one part, or of all parts one after the other where none is named; always in the same order.

        Ids are unique over the whole source. What is damaged goes to `bad`, and reading goes on after it. Errors: DataError,
        with file and row, where the data does not fit the fields (a column that is not there).
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of every byte that `read` depends on beyond the fields."""
