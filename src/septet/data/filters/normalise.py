"""Normalises text: Unicode NFC, newlines, spaces at line ends, control characters, reserved tokens.

Letters, case and spaces inside a line stay as they are, so that code examples survive. Documents without text are dropped.

    septet corpus --source python-docs --filters normalise
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.special import without_reserved

__all__ = ["Normalise", "normalise"]

# C0 and C1 controls except tab and newline, the byte-order mark, lone surrogates, non-characters.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ud800-\udfff\ufffe\uffff]")
_SPACES_AT_END = re.compile(r"[^\S\n]+$", re.MULTILINE)
_MANY_NEWLINES = re.compile(r"\n{4,}")


class Normalise(Filter):
    """One way to write the same text."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        for doc in docs:
            changed = doc.with_text(normalise)
            if changed.text:
                yield changed
            else:
                drop(doc, "no text")


def normalise(text: str) -> str:
    """The normal form of a text; normalising twice changes nothing more.

    >>> normalise("cafe\\u0301\\r\\nb \\x00 ")
    'café\\nb'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    text = without_reserved(_UNWANTED.sub("", unicodedata.normalize("NFC", _UNWANTED.sub("", text))))
    return _MANY_NEWLINES.sub("\n\n\n", _SPACES_AT_END.sub("", text)).strip("\n")
