"""A text with its genders exchanged: pronouns, titles, words for relatives and for people, and names where a list is given.

"her" is "him" or "his", which only the sentence can tell. The rule looks at the word after it, and at its other neighbours where
that does not settle it; the words are in `lexicons/gender_swap.yaml`. What is left alone: e-mail and web addresses, "Lord" where
no name follows, words that merely contain a gender ("mankind", "man-made"), and everything that is not English. Facts do not
change with the words: a text about a pregnancy or about a known person becomes untrue.

    python -m pytest tests/data/test_gender.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from septet.core.errors import DataError

__all__ = ["PATH", "gendered", "her_is_him", "his_is_hers", "read_names", "swap"]

PATH = Path(__file__).with_name("lexicons") / "gender_swap.yaml"

_TOKEN = re.compile(
    r"\w+://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.-]+|[@#]\w+"  # addresses and handles: one token, in no table
    r"|[^\W\d_]+|['’](?:s|d|ll|S|D|LL)\b|\n[ \t\r]*\n|[^\s\0]"  # \0 joins the tokens below
)
# words with a rule of their own
_SPECIAL = frozenset(("him", "her", "his", "hers", "mr", "mrs", "sir", "madam", "lady", "lord", "miss"))
_HYPHENS = frozenset("-‐‑")
_BOUND = frozenset("man men king kings queen queens lady".split())
"""Words that are left alone beside a hyphen: "man-made", "king-size"."""
_ENDS = frozenset(".,;:!?)]}…—–\"”'’\n") | {""}
_HIS_ENDS = frozenset(".,;:!?)]}…\n") | {""}
_AFTER_HERS = frozenset(
    "is was were are and or but to who that which with in on at as than had has for by when if not".split()
)
_BEFORE_HERS = frozenset("of than like unlike as is was are were be".split())
_PAIRED = frozenset(("or", "and", "/"))
_DEGREE = frozenset("much well little often kindly dearly badly early late far hard soon seriously closely".split())


@dataclass(frozen=True, slots=True)
class _Words:
    table: dict[str, str]
    object_before: frozenset[str]
    adjectives: frozenset[str]
    lets: frozenset[str]
    verbs: frozenset[str]
    gives: frozenset[str]
    given: frozenset[str]
    hers_back: frozenset[str]


@cache
def _words() -> _Words:
    content = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    table: dict[str, str] = {}
    for key in ("pairs", "to_male", "to_female"):
        for item in content[key].split(","):
            first, second = item.split()
            pairs = [(first, second), (second, first)] if key == "pairs" else [(first, second)]
            for word, other in pairs:
                assert word not in table, f"{PATH.name}: {word} stands twice"
                table[word] = other
    return _Words(table, **{key: frozenset(content[key].split()) for key in _Words.__slots__ if key != "table"})


def gendered() -> frozenset[str]:
    """Return the words that say a gender, in small letters."""
    return frozenset(_words().table) | _SPECIAL


def her_is_him(before: str, after: str, later: str) -> bool:
    """Tell whether "her" stands for an object ("saw her": him), not for an owner ("her hat": his).

    before, after, later: the tokens around it in small letters: the one before, the next, and the one after that; "" for none.

    >>> her_is_him("saw", ".", ""), her_is_him("lost", "hat", "."), her_is_him("let", "go", "."), her_is_him("turned", "back", ".")
    (True, False, True, False)
    """
    words = _words()
    if after in _PAIRED and later in ("his", "him"):
        return later == "him"  # "her or his book"
    if after in _ENDS:
        return True
    if after == "back":
        return before not in words.hers_back
    if after == "very":
        return later in _DEGREE
    if after in words.object_before:
        return True
    closed = later in _ENDS or later in words.object_before
    if after.endswith("ly") and after not in words.adjectives:
        return closed  # "kissed her softly on", but "her softly spoken words"
    if before in words.lets and (after in words.verbs or (after.endswith("ing") and closed)):
        return True
    return before in words.gives and after in words.given


def his_is_hers(before: str, after: str) -> bool:
    """Tell whether "his" stands alone ("a friend of his": hers), not before what is owned ("his friend": her)."""
    return after in _HIS_ENDS or (before in _BEFORE_HERS and after in _AFTER_HERS)


def swap(text: str, names: Mapping[str, str] | None = None) -> tuple[str, int]:
    """Return the text with its genders exchanged, and how many words were changed; the same text and 0 where it names none.

    names: name -> name, both ways, as written ("Mary" -> "Martin"); see `read_names`.
    """
    table, names = _words().table, names or {}
    found = [(match.group(), match.start()) for match in _TOKEN.finditer(text)]
    # one call for all tokens is much quicker than one for each
    low = "\0".join(token for token, _ in found).lower().split("\0") if found else []
    parts: list[str] = []
    done = changed = 0
    for place, word in enumerate(low):
        token, start = found[place]
        if word in _SPECIAL:
            other = _special(word, place, low, found)
        elif token in names:
            other = names[token]
        elif word in table:
            beside = (low[place - 1] if place else "", low[place + 1] if place + 1 < len(low) else "")
            other = None if word in _BOUND and not _HYPHENS.isdisjoint(beside) else _cased(table[word], token)
        else:
            continue
        if other is not None:
            parts += (text[done:start], other)
            done = start + len(token)
            changed += 1
    return ("".join([*parts, text[done:]]), changed) if changed else (text, 0)


def _special(word: str, place: int, low: list[str], found: list[tuple[str, int]]) -> str | None:
    token = found[place][0]
    before = low[place - 1] if place else ""
    after, later = (low[place + step].strip(" \t\r") if place + step < len(low) else "" for step in (1, 2))
    after, later = (("\n" if item.startswith("\n") else item) for item in (after, later))
    if word == "him":
        return _cased("her", token)
    if word == "hers":
        return _cased("his", token)
    if word == "her" and before in _PAIRED and place > 1 and low[place - 2] in ("his", "him"):
        return _cased(low[place - 2], token)  # "his or her"
    if word == "her":
        return _cased("him" if her_is_him(before, after, later) else "his", token)
    if word == "his":
        return _cased("hers" if his_is_hers(before, after) else "her", token)
    if word in ("mr", "mrs"):
        return _cased("mrs" if word == "mr" else "mr", token) if token[0].isupper() else None
    # "Sir Walter", "Lady Anne" and "Lord Byron" are names; "sir", "the lady" and "the Lord" are not
    named = token[0].isupper() and place + 1 < len(found) and found[place + 1][0][0].isupper() and after.isalpha()
    if word == "miss":
        return _cased("mr", token) if named else None
    if word == "lord":
        return _cased("lady", token) if named or before == "my" else None
    if word == "lady":
        if after in _HYPHENS or before in _HYPHENS:
            return None
        return _cased("lord" if named or before == "my" else "gentleman", token)
    if word == "sir":
        return _cased("lady" if named else "madam", token)
    return _cased("sir", token)


def _cased(word: str, like: str) -> str:
    """The word in the letters of another: small, Capital or ALL CAPITALS."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word


def read_names(path: str | Path) -> dict[str, str]:
    """Return name -> name, both ways, of a file with two names a line, apart by a comma or a tab.

    Errors: DataError with file and row for a line of another form, and for a name that stands twice.
    """
    found: dict[str, str] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        message = f"The text is not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8."
        raise DataError(message, file=path) from None
    for row, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        names = [name.strip() for name in re.split(r"[,\t]", line)]
        if len(names) != 2 or not all(name.isalpha() for name in names):
            message = f"Two names of letters are expected, such as 'Mary,Martin'; the line is {line!r}."
            raise DataError(message, file=path, row=row)
        for name, other in (names, reversed(names)):
            if name in found:
                raise DataError(f"The name {name!r} stands twice; each name has one counterpart.", file=path, row=row)
            found[name] = other
    return found
