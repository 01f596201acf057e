"""C4's page rules as the code that built C4 applies them: 5 words a line, 3 sentences a page.

Lines that do not end in . ? ! or a quotation mark go, then short ones and those about JavaScript, policies or cookies; then
pages with too few sentences, "lorem ipsum" or a curly bracket. Two parts of C4 are filters of their own: `exact-dedup` of lines,
and `language` (C4: English with a probability of 0.99).

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters c4-tfds
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from septet.core.component import InputPath
from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.quality import BadWords, C4Rules, c4_pages

__all__ = ["C4Tfds"]


class C4Tfds(Filter):
    """`clean_page` and `is_valid_length` of tensorflow_datasets/text/c4_utils.py."""

    min_sentences: int = Field(default=3, ge=0)
    """Pages with fewer sentences in the lines that stay are dropped."""
    min_words_per_line: int = Field(default=5, ge=0)
    """Lines with fewer words are taken out; a word is what stands between white space, without [12], [edit] and the like."""
    max_word_characters: int = Field(default=1000, ge=1)
    """Lines with a longer word are taken out."""
    max_characters: int = Field(default=190_000, ge=1)
    """Longer pages are dropped, before any line is looked at."""
    bad_words: InputPath | None = None
    """A file of words, one a line; a page with one of them in a line that stays is dropped. None: no such rule."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Errors: DataError for a list of words that cannot be read."""
        rules = C4Rules(
            min_sentences=self.min_sentences,
            min_words_per_line=self.min_words_per_line,
            max_word_characters=self.max_word_characters,
            end_marks=(".", "?", "!", '"'),
            words_with_citations=False,
            max_characters=self.max_characters,
            bad_words=BadWords(self.bad_words, sides="letters") if self.bad_words else None,
            bad_words_by_line=True,
        )
        return c4_pages(docs, drop, rules)
