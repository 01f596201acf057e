from __future__ import annotations
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from septet.core.component import Component
from septet.data.documents import Document
class Audit(Component):
    """A look at the texts as a whole."""
    drawer: ClassVar[str] = "septet.data.audits"
    @abstractmethod
    def look(self, docs: Iterable[Document]) -> dict[str, Any]: ...
    @abstractmethod
    def merge(self, tallies: Sequence[Any]) -> dict[str, Any]: ...
    @abstractmethod
    def report(self, tally: Any) -> dict[str, Any]: ...
    def given(self, folders: Mapping[str, Path]) -> None: ...
