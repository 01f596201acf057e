"""FineWeb's own rules: lines that end in punctuation, short lines, repeated lines, words per line.

The thresholds are those of the published code. The paper names 0.1 for the characters in repeated lines where the code has 0.01;
set `max_repeated_characters: 0.1` for the paper's. FineWeb runs these after `gopher-repetition`, `gopher-quality` and
`c4-datatrove` without its end-mark rule.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: fineweb, max_repeated_characters: 0.1}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.quality import SENTENCE_ENDS, repeats, words

__all__ = ["Fineweb"]


class Fineweb(Filter):
    """Penedo et al. 2024 (arXiv 2406.17557), 3.4; datatrove pipeline/filters/fineweb_quality_filter.py.

    Blank lines are no lines.
    """

    min_end_marks: float = Field(default=0.12, ge=0, le=1)
    """Least share of lines that end in a character that ends sentences."""
    quotes_end_lines: bool = False
    """Let ' and " end lines too, as the code did when FineWeb was built; the code of today does not."""
    short_line: int = Field(default=30, ge=0)
    """Lines of this many characters or fewer are short."""
    max_short_lines: float = Field(default=0.67, ge=0, le=1)
    """Greatest share of short lines."""
    max_repeated_characters: float = Field(default=0.01, ge=0, le=1)
    """Greatest share of characters in lines that stood before: 0.01 in the code, 0.1 in the paper."""
    max_newlines_per_word: float = Field(default=0.3, ge=0)
    """Most newlines for each word or punctuation mark."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        ends = SENTENCE_ENDS | {"'", '"'} if self.quotes_end_lines else SENTENCE_ENDS
        for doc in docs:
            reason = self._fault(doc.text, ends)
            if reason:
                drop(doc, reason)
            else:
                yield doc

    def _fault(self, text: str, ends: frozenset[str]) -> str:
        """The first rule that the text breaks, in datatrove's order, or ""."""
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if not lines:
            return "no text"
        if sum(line[-1] in ends for line in lines) / len(lines) < self.min_end_marks:
            return "too few lines that end in punctuation"
        if sum(len(line) <= self.short_line for line in lines) / len(lines) > self.max_short_lines:
            return "too many short lines"
        newlines = text.count("\n")
        if repeats(lines)[1] / (len(text) - newlines) > self.max_repeated_characters:
            return "too many characters in repeated lines"
        # a text has at least as many words as pieces between white space, and those are quicker to count
        if newlines > self.max_newlines_per_word * len(text.split()):
            if newlines / len(words(text)) > self.max_newlines_per_word:
                return "too many newlines for its words"
        return ""
