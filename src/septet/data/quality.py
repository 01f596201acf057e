"""What the quality filters share: words, sentences, punctuation, and the page rules of C4.

Words are counted as a tokenizer for English counts them, since the published thresholds were set with one: punctuation is a
word of its own, "don't" is two words, "3.14", "U.S.", "..." and an address are one. It is not spaCy, which knows more
abbreviations ("Mr.") and smileys. Texts in languages that put no spaces between words are beyond these rules.

    python -c "from septet.data.quality import words; print(words('Don\u2019t pay 1,000.50 for well-known bits...'))"
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from septet.core.errors import DataError
from septet.data.documents import Document
from septet.data.filter import Drop, count

__all__ = [
    "PUNCTUATION",
    "SENTENCE_ENDS",
    "BadWords",
    "C4Rules",
    "c4_pages",
    "read_list",
    "repeats",
    "sentences",
    "words",
]

# What ends a sentence to datatrove (utils/text.py): the Unicode property Sentence_Terminal, and three Khmer signs.
SENTENCE_ENDS = frozenset(
    "!.?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b\u1362\u1367"
    "\u1368\u166e\u1735\u1736\u17d4\u17d5\u17d6\u17d9\u17da\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e"
    "\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c\u2e53\u2e54\u3002\ua4ff"
    "\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56"
    "\ufe57\uff01\uff0e\uff1f\uff61"
) | frozenset(
    chr(code)
    for first, last in (
        (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89), (0x11047, 0x11048), (0x110BE, 0x110C1),
        (0x11141, 0x11143), (0x111C5, 0x111C6), (0x111CD, 0x111CD), (0x111DE, 0x111DF), (0x11238, 0x11239),
        (0x1123B, 0x1123C), (0x112A9, 0x112A9), (0x1144B, 0x1144C), (0x115C2, 0x115C3), (0x115C9, 0x115D7),
        (0x11641, 0x11642), (0x1173C, 0x1173E), (0x11944, 0x11944), (0x11946, 0x11946), (0x11A42, 0x11A43),
        (0x11A9B, 0x11A9C), (0x11C41, 0x11C42), (0x11EF7, 0x11EF8), (0x11F43, 0x11F44), (0x16A6E, 0x16A6F),
        (0x16AF5, 0x16AF5), (0x16B37, 0x16B38), (0x16B44, 0x16B44), (0x16E98, 0x16E98), (0x1BC9F, 0x1BC9F),
        (0x1DA88, 0x1DA88),
    )
    for code in range(first, last + 1)
)  # fmt: skip
# A word of these alone is no word to Gopher's rules as datatrove codes them (utils/text.py). "#", "$", "%", "&" and "@" are in
# it, the bullet and the euro sign are not, nor is the double dash.
PUNCTUATION = (
    frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    | frozenset("\u00ab\u00b4\u00bb\u2013\u2014\u2019\u201c\u201d\u201e\u2026\u2236\u2501\u25ba")
    | frozenset("\u3001\u3002\u3008\u3009\u300a\u300b\u300c\u300d\u3010\u3011")
    | frozenset("\uff01\uff05\uff08\uff09\uff0c\uff0e\uff11\uff1a\uff1b\uff1f\uff5e")
    | frozenset(chr(code) for code in (*range(9), 11, 12, *range(13, 32), *range(127, 160)))
    | SENTENCE_ENDS
)

# No part of either pattern is tried twice over the same characters: a million dots take no longer than a million letters.
_WORD = re.compile(
    r"(?:https?://|www\.)\S*[\w/]|(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++"  # addresses
    r"|(?:[^\W\d_]\.){2,}"  # U.S., a.m.
    r"|\w+(?:[.,:/](?<=\d[.,:/])\d+)*"  # words, 1,000.50, 2:30, 3/4
    r"|(?<=\w)['\u2019]\w+"  # the second half of don't and John's
    r"|\.{2,}|-{2,}|[^\w\s]"
).findall
_LONG = 32  # characters; longer pieces are not worth remembering
_remembered = lru_cache(2**16)(_WORD)  # the same "it," and "don't" come again and again


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in order.

    >>> words("John's 2nd idea: 3.14!")
    ['John', "'s", '2nd', 'idea', ':', '3.14', '!']
    """
    found: list[str] = []
    append, extend = found.append, found.extend
    for piece in text.split():
        if piece.isalnum():
            append(piece)
        else:
            extend(_remembered(piece) if len(piece) < _LONG else _WORD(piece))
    return found


_END = re.compile(r"""(?<![.?!])([.?!]++)["'\u201d\u2019)\]]*+\s++(?=(\S))""")
_LAST_WORD = re.compile(r"\w*\Z")
_ABBREVIATIONS = frozenset(
    "adm al apr assn ave bros capt cf cmdr co col corp cpl dec dept dr eg etc feb fig gen gov hon hr ie inc jan jr lt ltd"
    " maj messrs mr mrs ms mt no nov oct pp prof pvt rep rev sen sept sgt sr st ste univ vol vs".split()
)


def sentences(line: str, *, at_most: int = sys.maxsize) -> int:
    """How many sentences a line without newlines holds, counted no further than `at_most`; 0 for a blank line.

    A run of ".", "?", "!" before white space ends one, but not the full stop of a common abbreviation, of an initial, or an
    ellipsis before a small letter. The Punkt model, which C4 and datatrove use, must be downloaded and knows more
    abbreviations.

    >>> sentences('Mr. J. Smith waited ... and left. "Why?" No answer.')
    3
    """
    if not line or line.isspace():
        return 0
    number = 1
    for match in _END.finditer(line):
        if number >= at_most:
            break
        mark, after = match.groups()
        if mark == ".":
            start = match.start()
            before = _LAST_WORD.search(line, max(0, start - 12), start)
            word = before[0] if before else ""
            number += not (word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isalpha()))
        else:
            number += not (mark.startswith("..") and after.islower())
    return number


def repeats(items: Sequence[str]) -> tuple[int, int]:
    """(number, characters) of the items that stood before in the sequence; the first copy of each does not count.

    >>> repeats(["a", "bc", "bc", "bc"])
    (2, 4)
    """
    if len(set(items)) == len(items):
        return 0, 0
    extra = [(item, copies - 1) for item, copies in Counter(items).items() if copies > 1]
    return sum(copies for _, copies in extra), sum(copies * len(item) for item, copies in extra)


# -- C4 -------------------------------------------------------------------------------------------------------------

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


class BadWords:
    """A list of words that a page must not hold, one a line.

    How a word must stand differs: C4 wants a character that is no letter from a to z on each side, so a word at the very
    beginning of a line does not count; datatrove wants no letter, digit or underscore on either side.
    """

    def __init__(self, path: str | Path, *, sides: str) -> None:
        """sides: "letters" (C4) or "words" (datatrove). Errors: DataError for a file that is not UTF-8 or has no words."""
        assert sides in ("letters", "words")
        listed = sorted({line.strip().lower() for line in read_list(path) if line.strip()})
        if not listed:
            raise DataError("The list of words is empty; one word or phrase a line is expected.", file=path)
        any_of = "|".join(map(re.escape, listed))
        exact = f"[^a-z](?:{any_of})[^a-z]" if sides == "letters" else rf"(?:\W|^)(?:{any_of})(?:\W|$)"
        whole = re.compile("[a-z]+" if sides == "letters" else r"\w+")
        self._exact, self._run = re.compile(exact), whole.findall
        self._single = frozenset(word for word in listed if whole.fullmatch(word))
        self._other = tuple(word for word in listed if word not in self._single)

    def found(self, lowered: str) -> bool:
        """Whether a text in small letters holds one of the words."""
        # the exact pattern tries every word at every place; a set of the text's words rules out nearly all texts first
        if self._single.isdisjoint(self._run(lowered)) and not any(word in lowered for word in self._other):
            return False
        return self._exact.search(lowered) is not None


def read_list(path: str | Path) -> list[str]:
    """The lines of a list that a field names. Errors: DataError where it is not UTF-8 text."""
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        message = f"The text is not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8."
        raise DataError(message, file=path) from None
    except IsADirectoryError:
        raise DataError("This is a folder; a text file with one entry a line is expected.", file=path) from None


@dataclass(frozen=True, slots=True)
class C4Rules:
    """C4's rules for a page, with what its two implementations disagree on.

    end_marks: () lets lines end as they like. words_with_citations: count a line's words before "[12]" is taken out.
    bad_words_by_line: look at each kept line as it comes, or at the cleaned page at the end.
    """

    min_sentences: int
    min_words_per_line: int
    max_word_characters: int
    end_marks: tuple[str, ...]
    words_with_citations: bool
    max_characters: int | None = None
    bad_words: BadWords | None = None
    bad_words_by_line: bool = False

    def clean(self, text: str) -> tuple[str, str, Counter[str]]:
        """(text of the lines that stay, why the page is dropped or "", lines taken out by reason)."""
        gone: Counter[str] = Counter()
        if self.max_characters is not None and len(text) > self.max_characters:
            return "", f"more than {self.max_characters} characters", gone
        plain = _CITATION.sub("", text) if "[" in text else text
        lowered = plain.lower()
        # what is nowhere in the page need not be looked for in each line
        suspect = "{" in plain or any(phrase in lowered for phrase in ("lorem ipsum", "javascript", *_POLICY))
        by_line = self.bad_words if self.bad_words_by_line else None
        kept: list[str] = []
        number = 0
        for line in text.splitlines():
            line = whole = line.strip()
            if len(line) > self.max_word_characters and max(map(len, line.split())) > self.max_word_characters:
                gone[f"lines with a word of more than {self.max_word_characters} characters"] += 1
                continue
            if "[" in line:
                line = _CITATION.sub("", line)
            if self.end_marks and (not line.endswith(self.end_marks) or line.endswith("...")):
                gone["lines without an end mark"] += 1
                continue
            counted = whole if self.words_with_citations else line
            if len(counted.split(None, self.min_words_per_line)) < self.min_words_per_line:
                gone[f"lines with fewer than {self.min_words_per_line} words"] += 1
                continue
            if suspect or by_line:
                small = line.lower()
                if "lorem ipsum" in small:
                    return "", "lorem ipsum", gone
                if "javascript" in small:
                    gone["lines about javascript"] += 1
                    continue
                if "{" in line:
                    return "", "a curly bracket", gone
                if any(phrase in small for phrase in _POLICY):
                    gone["lines about policies or cookies"] += 1
                    continue
                if by_line and by_line.found(small):
                    return "", "a word of the bad-words list", gone
            if number < self.min_sentences:  # beyond it nobody asks how many there are
                number += sentences(line, at_most=self.min_sentences - number)
            kept.append(line)
        if number < self.min_sentences:
            return "", f"fewer than {self.min_sentences} sentences", gone
        cleaned = "\n".join(kept).strip()
        if self.bad_words and not self.bad_words_by_line and self.bad_words.found(cleaned.lower()):
            return "", "a word of the bad-words list", gone
        return cleaned, "", gone


def c4_pages(docs: Iterable[Document], drop: Drop, rules: C4Rules) -> Iterator[Document]:
    """The pages that C4's rules keep, with the lines that they keep. Counts the lines taken out of them."""
    for doc in docs:
        cleaned, reason, gone = rules.clean(doc.text)
        if reason:
            drop(doc, reason)
            continue
        for name, number in gone.items():
            count(drop, name, number)
        yield replace(doc, text=cleaned) if gone or cleaned != doc.text else doc
