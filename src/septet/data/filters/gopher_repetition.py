"""Gopher's repetition rules: repeated lines, paragraphs and word sequences, by their share of the characters.

Table A1 of the paper as datatrove codes it: of repeated lines and paragraphs only the extra copies count; of the most frequent
2, 3 and 4 words in a row every copy counts, overlaps too; of 5 to 10 words in a row the repeats are taken from the left without
overlap. Shares are of all characters. It finds repetition inside a document, never between documents.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters gopher-repetition
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np
from pydantic import Field

from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.quality import repeats, words

__all__ = ["GopherRepetition"]

_BLANK = re.compile(r"\n{2,}")
_TOP, _REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)


class GopherRepetition(Filter):
    """Rae et al. 2021 (arXiv 2112.11446), Table A1; datatrove pipeline/filters/gopher_repetition_filter.py.

    A threshold above 1 takes a rule out in practice.
    """

    repeated_paragraphs: float = Field(default=0.30, ge=0)
    """Greatest share of paragraphs that stood before."""
    repeated_paragraph_characters: float = Field(default=0.20, ge=0)
    """Greatest share of characters in paragraphs that stood before."""
    repeated_lines: float = Field(default=0.30, ge=0)
    """Greatest share of lines that stood before."""
    repeated_line_characters: float = Field(default=0.20, ge=0)
    """Greatest share of characters in lines that stood before."""
    top_2_words: float = Field(default=0.20, ge=0)
    """Greatest share of characters in the most frequent 2 words in a row."""
    top_3_words: float = Field(default=0.18, ge=0)
    """Greatest share of characters in the most frequent 3 words in a row."""
    top_4_words: float = Field(default=0.16, ge=0)
    """Greatest share of characters in the most frequent 4 words in a row."""
    repeated_5_words: float = Field(default=0.15, ge=0)
    """Greatest share of characters in repeats of 5 words in a row."""
    repeated_6_words: float = Field(default=0.14, ge=0)
    """Greatest share of characters in repeats of 6 words in a row."""
    repeated_7_words: float = Field(default=0.13, ge=0)
    """Greatest share of characters in repeats of 7 words in a row."""
    repeated_8_words: float = Field(default=0.12, ge=0)
    """Greatest share of characters in repeats of 8 words in a row."""
    repeated_9_words: float = Field(default=0.11, ge=0)
    """Greatest share of characters in repeats of 9 words in a row."""
    repeated_10_words: float = Field(default=0.10, ge=0)
    """Greatest share of characters in repeats of 10 words in a row."""

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        top = {n: float(getattr(self, f"top_{n}_words")) for n in _TOP}
        repeated = {n: float(getattr(self, f"repeated_{n}_words")) for n in _REPEATED}
        for doc in docs:
            reason = self._of_pieces(doc.text) or self._of_words(doc.text, top, repeated)
            if reason:
                drop(doc, reason)
            else:
                yield doc

    def _of_pieces(self, text: str) -> str:
        """The first rule for paragraphs and lines that the text breaks, or ""."""
        total = max(len(text), 1)
        paragraphs, lines = [text.strip()], text.split("\n")
        if "\n\n" in text:
            inner = [line for line in lines[1:-1] if line]  # newlines in a row end one line
            paragraphs, lines = _BLANK.split(paragraphs[0]), [lines[0], *inner, lines[-1]]
        for what, pieces, most, most_characters in (
            ("paragraph", paragraphs, self.repeated_paragraphs, self.repeated_paragraph_characters),
            ("line", lines, self.repeated_lines, self.repeated_line_characters),
        ):
            number, characters = repeats(pieces)
            if number / len(pieces) > most:
                return f"too many repeated {what}s"
            if characters / total > most_characters:
                return f"too many characters in repeated {what}s"
        return ""

    def _of_words(self, text: str, top: dict[int, float], repeated: dict[int, float]) -> str:
        """The first rule for words in a row that the text breaks, or ""."""
        grams = Grams(text)
        total, number = len(text), len(grams)
        if number < min(top):
            return ""
        # no 3 or 4 words occur more often than the most frequent 2: mostly that is too seldom, whichever words they are
        if grams.most_copies(2) * grams.longest(max(top)) / total > min(top.values()):
            for n, share in top.items():
                if number < n or grams.most_copies(n) * grams.longest(n) / total <= share:
                    continue
                if grams.top(n) / total > share:
                    return f"the most frequent {n} words in a row are too much of it"
        # repeats of more words lie within repeats of fewer, and those are at most so many times so long
        within = min(repeated)
        bound = grams.num_repeats(within) * grams.longest(within)
        if bound / total > min(repeated.values()):
            bound = grams.within_repeats(within)
        for n, share in repeated.items():
            if bound / total > share:
                if n > within:
                    bound, within = grams.within_repeats(n), n
                if bound / total > share and grams.repeated(n) / total > share:
                    return f"too much of it repeats {n} words in a row"
        return ""


class _Rows:
    """The n-grams of a text, grouped: `order` has their places with equal ones side by side; each group has `copies`."""

    def __init__(self, codes: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.order = np.argsort(codes)
        ordered = codes[self.order]
        self.starts = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
        self.copies = np.diff(np.append(self.starts, len(codes)))

    @property
    def first(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The place of the first copy of each group."""
        return np.minimum.reduceat(self.order, self.starts)


class Grams:
    """The sequences of n words of a text, for any n: how much of the text the frequent and the repeated ones are.

    Words are numbered, and sequences too, exactly: nothing is hashed, so no two are taken for the same. Counts are of
    characters; a sequence's length is that of its words, with a space between them for `top`, without for `repeated`, as in
    datatrove.
    """

    def __init__(self, text: str) -> None:
        found = words(text)
        known: defaultdict[str, int] = defaultdict(count().__next__)
        self._words = np.fromiter(map(known.__getitem__, found), np.int64, len(found))
        self._known = len(known)
        self._lengths = np.fromiter(map(len, known), np.int64, len(known))[self._words]
        self._ends = np.concatenate(([0], np.cumsum(self._lengths)))
        self._codes: dict[int, np.ndarray[Any, np.dtype[np.int64]]] = {1: self._words}
        self._bounds = {1: self._known}
        self._rows: dict[int, _Rows] = {}

    def __len__(self) -> int:
        """How many words the text has."""
        return len(self._words)

    def codes(self, n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """A number for each sequence of n words, by place; equal sequences have equal numbers and only they."""
        if n not in self._codes:
            shorter, bound = self.codes(n - 1), self._bounds[n - 1]
            if bound * self._known >= 2**63:  # too large to append a word to: number them anew
                shorter = np.unique(shorter, return_inverse=True)[1].astype(np.int64)
                bound = len(shorter)
            assert bound * self._known < 2**63, "a text of more than 3 billion words"
            self._codes[n] = shorter[:-1] * self._known + self._words[n - 1 :]
            self._bounds[n] = bound * self._known
        return self._codes[n]

    def most_copies(self, n: int) -> int:
        """How often the most frequent sequence of n words occurs."""
        codes = np.sort(self.codes(n))
        last = np.flatnonzero(codes[1:] != codes[:-1])  # the last place of every group but the last
        if not len(last):
            return len(codes)
        return max(int(last[0]) + 1, int((last[1:] - last[:-1]).max(initial=0)), len(codes) - 1 - int(last[-1]))

    def num_repeats(self, n: int) -> int:
        """How many sequences of n words stood before."""
        if len(self._words) < n:
            return 0
        codes = np.sort(self.codes(n))
        return int(np.count_nonzero(codes[1:] == codes[:-1]))

    def longest(self, n: int) -> int:
        """The most characters that a sequence of n words, or of all if they are fewer, has with its spaces."""
        return int(self.characters(min(n, len(self._words)), spaces=True).max())

    def rows(self, n: int) -> _Rows:
        if n not in self._rows:
            self._rows[n] = _Rows(self.codes(n))
        return self._rows[n]

    def characters(self, n: int, *, spaces: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The length of each sequence of n words, by place."""
        return self._ends[n:] - self._ends[:-n] + (n - 1 if spaces else 0)

    def top(self, n: int) -> int:
        """Copies times length of the most frequent sequence; of several, the one that comes first in the text."""
        rows = self.rows(n)
        copies = int(rows.copies.max())
        place = int(rows.first[rows.copies == copies].min())
        return copies * int(self.characters(n, spaces=True)[place])

    def within_repeats(self, n: int) -> int:
        """Characters of the words that lie in a sequence of n that stood before: no less than `repeated` of n or more."""
        if len(self._words) < n:
            return 0
        rows = self.rows(n)
        if len(rows.copies) == len(rows.order):
            return 0
        again = np.ones(len(rows.order), bool)
        again[rows.first] = False
        places = np.flatnonzero(again)
        inside = np.zeros(len(self._words), bool)
        for offset in range(n):
            inside[places + offset] = True
        return int(self._lengths[inside].sum())

    def repeated(self, n: int) -> int:
        """Characters of the sequences that a walk from the left has seen before; after such a one it goes on behind it.

        The walk only stops where a sequence has stood before; a sequence that it has jumped over counts as not seen.
        """
        if len(self._words) < n:
            return 0
        rows, codes, lengths = self.rows(n), self.codes(n), self.characters(n, spaces=False)
        firsts = np.empty(len(codes), np.int64)
        firsts[rows.order] = np.repeat(rows.first, rows.copies)
        jumped = bytearray(len(codes) + n)
        seen: set[int] = set()
        characters = 0
        for place in np.flatnonzero(firsts != np.arange(len(codes))).tolist():
            if jumped[place]:
                continue
            code = int(codes[place])
            if code in seen or not jumped[firsts[place]]:
                characters += int(lengths[place])
                jumped[place + 1 : place + n] = b"\1" * (n - 1)
            else:
                seen.add(code)
        return characters
