"""Filters: what of the documents is trained on. A family; its members are the files of `septet.data.filters`.

A filter takes a stream and gives a stream: it changes documents or drops them, and tells why. It never touches what an
index holds: filters choose the training text only.

    python -c "from septet.core.registry import names; print(names('septet.data.filters'))"
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from septet.core.component import Component
from septet.data.documents import Document

__all__ = ["Drop", "Filter"]

Drop = Callable[[Document, str], None]
"""Called with each document that is left out, and the reason in a few words."""


class Filter(Component):
    """A rule that changes or drops documents."""

    drawer: ClassVar[str] = "septet.data.filters"

    @abstractmethod
    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """The documents that stay, in the order they came; the others go to `drop`."""
