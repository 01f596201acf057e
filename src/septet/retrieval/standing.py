"""Standing: how likely a document is to be what people ask for, before the question is read.

Four things of the corpus itself, none of them about a single name: how many documents mention it (source code included, where
the corpus holds code), how long its text is, whether it is a part of something (a method, an attribute) or a whole module, and
whether it is deprecated.
A document without such traces, such as a section of one's own notes, has no standing but its length.

What it is not: a list of favourites, or clicks.

    python -m pytest tests/retrieval/test_standing.py
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from septet.data.documents import Document

__all__ = ["DEPRECATED", "LENGTH", "MENTIONS", "PARTS", "mentions", "standing"]

_CHAIN = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*|(?<=[\w)\]'\"])\.[^\W\d]\w*")
_IMPORTED = re.compile(r"^[ \t]*(?:>>> )?from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#(]+)", re.MULTILINE)

MENTIONS = 0.33
"""Weight of log(1 + mentions)."""
LENGTH = 0.57
"""Weight of log(1 + characters)."""
PARTS = {"method": -1.4, "property": -0.7, "module": -1.1}
"""Added for a document that is a part of another, or the page over others."""

DEPRECATED = -1.5
"""Added for a document whose source says that it is going away."""


def mentions(documents: Sequence[Document]) -> np.ndarray:
    """Return for each document, [N] float64, how many documents mention its name.

    A qualified name counts where it is written whole, by its last two words (`path.join`) or imported from its module, a plain
    one where it stands alone, a method also as `.name`, shared among all methods of that name. The document's own text does not
    count.
    """
    chains: Counter[str] = Counter()
    attributes: Counter[str] = Counter()
    own: list[set[str]] = []
    for document in documents:
        found, ends = set(), set()
        for chain in set(_CHAIN.findall(document.text)):
            words = [word for word in chain.split(".") if word]
            for length in range(1, len(words) + 1):
                found.add(".".join(words[:length]))
            for length in range(2, len(words)):
                found.add(".".join(words[-length:]))
            if len(words) > 1 or chain.startswith("."):
                ends.update(words[1:] or words)
        for module, imported in _IMPORTED.findall(document.text):
            found.update(f"{module}.{part.split()[0]}" for part in imported.strip("()").split(",") if part.strip())
        chains.update(found)
        attributes.update(ends)
        own.append(found | {f".{end}" for end in ends})

    methods = Counter(
        document.name.rsplit(".", 1)[-1] for document in documents if document.meta.get("type") == "method"
    )
    counts = np.zeros(len(documents))
    for position, document in enumerate(documents):
        best = 0.0
        for name in (document.name, *document.aliases):
            last = name.rsplit(".", 1)[-1]
            for form in {name, ".".join(name.split(".")[-2:])}:
                best = max(best, chains[form] - (form in own[position]))
            if document.meta.get("type") == "method" and last == document.name.rsplit(".", 1)[-1]:
                best = max(best, (attributes[last] - (f".{last}" in own[position])) / methods[last])
        counts[position] = best
    return counts


def standing(documents: Sequence[Document], counts: np.ndarray) -> np.ndarray:
    """Return the standing of each document, [N] float64, on an arbitrary scale; `counts` is what `mentions` returned for them."""
    return np.array(
        [
            MENTIONS * math.log1p(count)
            + LENGTH * math.log1p(len(document.text))
            + PARTS.get(str(document.meta.get("type", "")), 0.0)
            + (DEPRECATED if document.meta.get("deprecated") else 0.0)
            for document, count in zip(documents, counts, strict=True)
        ]
    )
