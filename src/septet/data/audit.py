"""Audits: what a corpus says, and of whom. A family; its members are the files of `septet.data.audits`.

An audit looks at a stream of documents, changes nothing, and tallies in whole numbers that add up in any order: pieces of a corpus
may be looked at by several processes, and the report is the same. It is not a filter (`septet.data.filter`), which acts.

    septet audit --corpus text
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from septet.core.component import Component
from septet.data.documents import Document

__all__ = ["Audit", "Report", "Tally"]

Tally = dict[str, Any]
"""Counts as JSON values. It says nothing to readers; `report` does."""

Report = dict[str, Any]
"""Figures as JSON values, with their intervals."""


class Audit(Component):
    """A look at the whole of a corpus."""

    drawer: ClassVar[str] = "septet.data.audits"

    @abstractmethod
    def look(self, docs: Iterable[Document]) -> Tally:
        """Return the counts of some documents, in memory that does not grow with their number."""

    @abstractmethod
    def merge(self, tallies: Iterable[Tally]) -> Tally:
        """Return the counts of several pieces together: equal to one look at all of their documents, in any order."""

    @abstractmethod
    def report(self, tally: Tally, beside: Report | None = None) -> Report:
        """Return the figures of a tally. beside: an earlier report that this one is compared with; what it names is named here."""

    def given(self, folders: Mapping[str, Path]) -> None:
        """Called before `look` where fields refer to artifacts: the folder of each, by the reference as it is written."""
