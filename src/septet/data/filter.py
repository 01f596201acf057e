"""Filters: what of the documents is trained on. A family; its members are the files of `septet.data.filters`.

A filter takes a stream and gives a stream: it changes documents or drops them, and tells why. It never touches what an
index holds: filters choose the training text only. It judges each document by itself, so that the stream may be cut anywhere
and its pieces filtered by several processes; one that must know the whole corpus first is a `septet.data.survey.Survey`.

    python -c "from septet.core.registry import names; print(names('septet.data.filters'))"
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from septet.core.component import Component
from septet.data.documents import Document

__all__ = ["Drop", "Filter", "count"]

Drop = Callable[[Document, str], None]
"""Called with each document that is left out, and the reason in a few words; the same words for the same rule."""


class Filter(Component):
    """A rule that changes or drops documents."""

    drawer: ClassVar[str] = "septet.data.filters"

    @abstractmethod
    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """The documents that stay, in the order they came; the others go to `drop`."""

    def given(self, folders: Mapping[str, Path]) -> None:
        """Called before `apply` where fields refer to artifacts: the folder of each, by the reference as it is written."""


def count(drop: Drop, name: str, by: int = 1) -> None:
    """Add to one of the counts that the report shows beside a filter ("email", "lines"); without a report, nothing."""
    counts = getattr(drop, "counts", None)
    if isinstance(counts, Counter):
        counts[name] += by
