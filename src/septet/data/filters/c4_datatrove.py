"""C4's page rules as datatrove applies them: 3 words a line, 5 sentences a page.

The numbers are those of the paper's text; the code that built C4 has them the other way round (`c4-tfds`). Lines may also end
in an apostrophe here, and "[12]" counts as a word. FineWeb uses it with `require_end_mark: false`.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters '{kind: c4-datatrove, require_end_mark: false}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from septet.core.component import InputPath
from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.quality import BadWords, C4Rules, c4_pages

__all__ = ["C4Datatrove"]


class C4Datatrove(Filter):
    """`C4QualityFilter`, and with a list `C4BadWordsFilter`, of datatrove's pipeline/filters/c4_filters.py."""

    min_sentences: int = Field(default=5, ge=0)
    """Pages with fewer sentences in the lines that stay are dropped."""
    min_words_per_line: int = Field(default=3, ge=0)
    """Lines with fewer words are taken out; a word is what stands between white space, [12], [edit] and the like too."""
    max_word_characters: int = Field(default=1000, ge=1)
    """Lines with a longer word are taken out."""
    require_end_mark: bool = True
    """Take out lines that do not end in . ? ! " or '."""
    bad_words: InputPath | None = None
    """A file of words, one a line; a page with one of them after cleaning is dropped. None: no such rule."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Errors: DataError for a list of words that cannot be read."""
        rules = C4Rules(
            min_sentences=self.min_sentences,
            min_words_per_line=self.min_words_per_line,
            max_word_characters=self.max_word_characters,
            end_marks=(".", "?", "!", '"', "'") if self.require_end_mark else (),
            words_with_citations=True,
            bad_words=BadWords(self.bad_words, sides="words") if self.bad_words else None,
        )
        return c4_pages(docs, drop, rules)
