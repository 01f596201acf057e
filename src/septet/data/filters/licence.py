"""Keeps documents by the licence that their origin states.

Names are compared without regard to case, spaces and "_", so "CC BY 4.0" is "cc-by-4.0"; links to Creative Commons licences are
read as their names. `*` stands for anything, and a licence on both lists is denied: `allow: [cc-by-*], deny: ["*-nc-*"]`.
It believes what the document states: nothing is checked, and "MIT OR GPL-2.0" is one name.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: licence, allow: [mit, apache-2.0, cc0-1.0]}'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal, Self

from pydantic import model_validator

from septet.data.documents import Document
from septet.data.filter import Drop, Filter

__all__ = ["Licence"]

_SEPARATORS = re.compile(r"[\s_-]+")
_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(?P<name>[a-z-]+)/(?P<version>\d\.\d)|(?P<zero>publicdomain/zero))"
)


class Licence(Filter):
    """An allow list, a deny list, and what happens to documents that state none."""

    allow: tuple[str, ...] = ()
    """Licences that stay, by SPDX name, `*` for anything; none: every licence that is not denied."""
    deny: tuple[str, ...] = ()
    """Licences that are dropped, whatever `allow` says."""
    unknown: Literal["drop", "keep"] = "drop"
    """What happens to documents that state no licence."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.unknown == "keep" and not self.allow and not self.deny:
            raise ValueError("with unknown: keep, name licences in allow or deny; nothing would be dropped.")
        return self

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        allow, deny = tuple(map(_name, self.allow)), tuple(map(_name, self.deny))

        @lru_cache(4096)  # few licences, many documents
        def fault(licence: str) -> str:
            name = _name(licence)
            if not name:
                return "no licence stated" if self.unknown == "drop" else ""
            if any(fnmatchcase(name, pattern) for pattern in deny):
                return "licence denied"
            return "" if not allow or any(fnmatchcase(name, pattern) for pattern in allow) else "licence not allowed"

        for doc in docs:
            reason = fault(doc.licence)
            if reason:
                drop(doc, reason)
            else:
                yield doc


def _name(stated: str) -> str:
    """One way to write a licence.

    >>> _name("CC BY-SA 4.0"), _name("https://creativecommons.org/licenses/by/4.0/deed.de")
    ('cc-by-sa-4.0', 'cc-by-4.0')
    """
    text = stated.strip().casefold()
    link = _CREATIVE_COMMONS.search(text)
    if link:
        return "cc0-1.0" if link["zero"] else f"cc-{link['name']}-{link['version']}"
    return _SEPARATORS.sub("-", text)
