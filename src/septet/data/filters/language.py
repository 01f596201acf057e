"""Tells the language of each document, and keeps those of the languages that you name.

py3langid, a naive Bayes classifier of byte sequences for 97 languages; its model is part of the package. Long texts are judged
by four samples from beginning to end. Short ones (below about 50 characters) and mixtures are often judged wrongly.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: language, keep: [en, de]}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import Field

from septet.core.errors import ComponentError, nearest
from septet.core.extras import need
from septet.data.documents import Document
from septet.data.filter import Drop, Filter, count

__all__ = ["Language"]

_SAMPLES = 4


class Language(Filter):
    """Language identification."""

    keep: tuple[str, ...] = ()
    """ISO 639-1 codes of the languages that stay (en, de, ...); none: all stay and are only labelled."""
    min_probability: float = Field(default=0.65, ge=0, le=1)
    """A less probable language is not written down; with `keep`, its document is dropped. FineWeb 0.65, C4 0.99 (other models)."""
    sample: int = Field(default=1000, ge=100)
    """Of a longer text, this many characters are looked at."""

    def fingerprint(self) -> str:
        """The version of py3langid, whose model changes. Errors: SeptetError where it is not installed."""
        return f"py3langid {need('py3langid', 'corpus').__version__}"

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Sets `language`, and counts the documents by language. Errors: ComponentError for a code that no model knows."""
        identify, known = _identifier()
        for code in self.keep:
            if code not in known:
                raise ComponentError(f"language: keep: there is no language {code!r} here.{nearest(code, known)}")
        wanted = frozenset(self.keep)
        for doc in docs:
            code, probability = identify(_sample(doc.text, self.sample))
            if probability < self.min_probability:
                count(drop, "unknown")
                if wanted:
                    drop(doc, "language not certain")
                else:
                    yield doc
                continue
            count(drop, code)
            if wanted and code not in wanted:
                drop(doc, "another language")
            else:
                yield replace(doc, language=code)


def _sample(text: str, size: int) -> str:
    """The text, or four pieces of it at equal distances, the first from the beginning and the last to the end."""
    if len(text) <= size:
        return text
    piece = size // _SAMPLES
    starts = [(len(text) - piece) * number // (_SAMPLES - 1) for number in range(_SAMPLES)]
    return "\n".join(text[start : start + piece] for start in starts)


@cache
def _identifier() -> tuple[Any, frozenset[str]]:
    """(classify: text -> language, probability; the codes of all languages), loaded once in a process."""
    langid = need("py3langid.langid", "corpus")  # 0.1 s, and the model 0.6 s
    one = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    return one.classify, frozenset(one.labels)
