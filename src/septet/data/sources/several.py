"""Several sources as one: each document knows which one it came from.

A document's source is the name given here, and its id begins with it, `novels/Emma.txt`; so ids stay unique, and shares, filters
and reports can tell the sources apart. The sources are read in the order of their names. It gives no weights: how often each is
trained on is the mixture's part.

    septet corpus --source '{kind: several, of: {novels: {kind: text, path: novels/}, web: {kind: warc, path: crawl/}}}'
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import field_validator

from septet.core.errors import DataError, nearest
from septet.data.documents import Document
from septet.data.source import Bad, Part, Source, stop

__all__ = ["Several"]


class Several(Source):
    """Documents from several sources, each named."""

    of: dict[str, Source]
    """The sources by name: letters, digits, dots, dashes and underscores."""

    @field_validator("of")
    @classmethod
    def _names(cls, of: dict[str, Source]) -> dict[str, Source]:
        if not of:
            raise ValueError("at least one source is expected, as in {novels: {kind: text, path: novels/}}.")
        for name in of:
            if not re.fullmatch(r"[\w-][\w.-]*", name):
                raise ValueError(f"the name {name!r} must consist of letters, digits, dots, dashes and underscores.")
        return of

    def __hash__(self) -> int:
        return hash((type(self), *sorted(self.of)))

    def parts(self) -> Sequence[Part]:
        """The parts of every source, `name/part`."""
        return tuple(Part(f"{name}/{part.name}", part.size) for name, one in self._each() for part in one.parts())

    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """The documents of one source after the other. Errors: as those of the sources."""
        for name in [part] if part else [item.name for item in self.parts()]:
            key, _, inner = name.partition("/")
            if key not in self.of:
                raise DataError(f"There is no source of that name.{nearest(key, self.of)}", file=name)
            for doc in self.of[key].read(inner, bad=_named(key, bad)):
                source = f"{key}/{doc.source}" if doc.source else key
                group = f"{key}/{doc.group}" if doc.group else ""
                yield replace(doc, id=f"{key}/{doc.id}", source=source, group=group)

    def fingerprint(self) -> str:
        """Hash of the sources' fingerprints."""
        told = "\n".join(f"{name}\0{one.fingerprint()}" for name, one in self._each())
        return hashlib.sha256(told.encode()).hexdigest()

    def identity(self, ids: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Kind, version and the identity of every source, which holds its fingerprint; no second one of all together."""
        of = {name: one.identity(ids) for name, one in self._each()}
        return {"kind": self.kind, "version": type(self).version, "of": of}

    def _each(self) -> list[tuple[str, Source]]:
        return sorted(self.of.items())


def _named(key: str, bad: Bad) -> Bad:
    return lambda place, reason: bad(f"{key}/{place}", reason)
