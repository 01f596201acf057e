"""Finds e-mail addresses and redacts them, drops their documents, or only counts them.

Addresses as people write them (local@domain.tld), also percent-encoded or after "mailto:". It finds no names, telephone
numbers or postal addresses, and no address that is spelt out ("name at example dot org"). An index keeps the text as read.

    septet corpus --source python-docs --filters '{kind: pii, on_match: redact}'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from septet.data.documents import Document
from septet.data.filter import Drop, Filter

__all__ = ["PLACEHOLDER", "Pii", "find_emails"]

PLACEHOLDER = "[email]"

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
EMAIL = re.compile(
    rf"(?<![\w.+%-])(?P<local>[\w!#$%&'*+/=?^`{{|}}~-]+(?:\.[\w!#$%&'*+/=?^`{{|}}~-]+)*)"
    rf"@(?P<domain>(?:{_LABEL}\.)+(?P<top>[^\W\d_]{{2,24}}|xn--[a-z0-9-]{{2,59}}))(?![\w-])",
    re.IGNORECASE,
)


class Pii(Filter):
    """What to do with e-mail addresses."""

    on_match: Literal["redact", "drop", "keep"] = "redact"
    """redact: put "[email]" in their place. drop: leave the document out. keep: count only."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """meta["emails"] of a document with addresses is their number."""
        for doc in docs:
            found = len(find_emails(doc.text))
            if not found:
                yield doc
            elif self.on_match == "drop":
                drop(doc, "holds an e-mail address")
            else:
                kept = doc if self.on_match == "keep" else doc.with_text(_redact)
                yield replace(kept, meta={**kept.meta, "emails": found})


def find_emails(text: str) -> list[tuple[int, int]]:
    """(start, end) of every address.

    >>> find_emails("write to guido@python.org.")
    [(9, 25)]
    """
    return [match.span() for match in EMAIL.finditer(text)] if "@" in text else []


def _redact(text: str) -> str:
    return EMAIL.sub(PLACEHOLDER, text) if "@" in text else text
