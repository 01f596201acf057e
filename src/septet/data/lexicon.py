"""Words for groups of people in a text: a lexicon from a readable file, and where its terms stand in a sentence.

A sentence is cut into words once, and most sentences are done with after one look-up of their words in a set; only where a term
may stand are its rules tried. The rules and the terms are in `lexicons/identity.yaml`, which says what each rule means.

What it is not: a recogniser of people. It knows no names and no coreference, and counting is not judging.

    python -m pytest tests/data/test_lexicon.py
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from septet.core.errors import DataError, nearest

__all__ = [
    "IDENTITY",
    "OCCUPATION",
    "Lexicon",
    "Mention",
    "digest",
    "function_words",
    "plain",
    "polarity",
    "sentences",
    "words",
]

FOLDER = Path(__file__).with_name("lexicons")
IDENTITY = FOLDER / "identity.yaml"
LISTS = ("occupations", "polarity", "function_words")
OCCUPATION = "occupation"
"""The axis under which occupations are found; it is not an axis of identity."""

RULES = ("always", "capital", "lower", "person", "Person", "the", "after", "before", "not")

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_CLITIC = re.compile(r"['’]\w+(?:['’]\w+)*")
# begins with one set of characters, which the search for the next match is quick with
_END = re.compile(r"[.!?\n](?:(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W\d_a-zß-öø-ÿ])|(?<=\n)[ \t\r]*\n)")
_TITLES = frozenset(
    {"Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Rev", "Hon", "Capt", "Col", "Gen", "Sen", "Rep", "Lt", "Sgt", "Esq"}
)
LONGEST = 1000
"""Characters; a longer run without an end is cut at white space, so that a text without full stops has bounded sentences."""


class Mention(NamedTuple):
    """A term in a sentence: words[start:end] name `group` on `axis`. key: axis/group; term: as the lexicon writes it."""

    start: int
    end: int
    axis: str
    group: str
    key: str
    term: str


@dataclass(frozen=True, slots=True)
class _Entry:
    words: tuple[str, ...]
    axis: str
    group: str
    rule: str
    context: frozenset[str]
    key: str
    term: str

    @classmethod
    def of(cls, term: str, axis: str, group: str, rule: str, context: Iterable[str] = ()) -> _Entry:
        # key and term are made once here, not at each of millions of mentions
        words = tuple(term.lower().split())
        return cls(words, axis, group, rule, frozenset(context), f"{axis}/{group}", " ".join(words))


@dataclass(frozen=True)
class Lexicon:
    """axes: axis -> its groups, in the order of the file. first: the first word of a term -> its entries, longest first."""

    axes: dict[str, tuple[str, ...]]
    first: dict[str, tuple[_Entry, ...]]
    keys: frozenset[str]
    own: dict[str, frozenset[str]]
    """Every word of every term of an axis and of its rules: words that say nothing new about its groups."""
    persons: frozenset[str]
    closing: frozenset[str]

    @staticmethod
    def read(path: Path | None = None, *, occupations: bool = False) -> Lexicon:
        """Read a lexicon; none: the one that comes with the project. Errors: DataError naming file, axis, group and rule."""
        return _read(Path(path or IDENTITY), occupations)

    def find(self, tokens: Sequence[str], low: Sequence[str]) -> list[Mention]:
        """Return the mentions, in order. tokens: the words of one sentence; low: `plain` of them, equally many."""
        found: list[Mention] = []
        taken: dict[str, int] = {}
        keys = self.keys
        for start in [place for place, word in enumerate(low) if word in keys]:
            for entry in self.first[low[start]]:
                end = start + len(entry.words)
                if taken.get(entry.axis, 0) > start or (len(entry.words) > 1 and tuple(low[start:end]) != entry.words):
                    continue
                if entry.rule in ("always", "not") or self._holds(entry, tokens, low, start, end):
                    taken[entry.axis] = end
                    if entry.rule == "not":
                        continue
                    found.append(Mention(start, end, entry.axis, entry.group, entry.key, entry.term))
        return found

    def _holds(self, entry: _Entry, tokens: Sequence[str], low: Sequence[str], start: int, end: int) -> bool:
        after = low[end] if end < len(low) else ""
        if entry.rule == "before":
            return after in entry.context
        before = low[start - 1] if start else ""
        if entry.rule == "after":
            return before in entry.context
        if entry.rule == "the":
            return before == "the" and (not after or after in self.closing)
        if entry.rule == "lower":
            return tokens[start].islower()
        person = after in self.persons or (end + 1 < len(low) and low[end + 1] in self.persons)
        if entry.rule == "person":
            return person
        capital = tokens[start][0].isupper()
        if entry.rule == "Person":
            return capital and person
        assert entry.rule == "capital", entry
        return capital and (start > 0 or person or (end < len(low) and tokens[end][0].isupper()))

    def mentions(self, text: str) -> Iterator[tuple[str, list[Mention]]]:
        """Yield the sentences of a text that mention somebody, with the mentions."""
        for sentence in sentences(text):
            tokens = words(sentence)
            low = plain(tokens)
            if not self.keys.isdisjoint(low) and (found := self.find(tokens, low)):
                yield sentence, found

    def axis(self, name: str) -> tuple[str, ...]:
        """Return the groups of an axis. Errors: DataError naming the nearest axis."""
        if name not in self.axes:
            raise DataError(f"The lexicon has no axis {name!r}.{nearest(name, self.axes)}")
        return self.axes[name]


def words(sentence: str) -> list[str]:
    """Return the runs of letters, with what follows an apostrophe: "she'd", "O'Brien". A hyphen separates."""
    return _WORD.findall(sentence)


def plain(tokens: Sequence[str]) -> list[str]:
    """Return the words in small letters without what follows an apostrophe: "The woman's" gives "the", "woman"."""
    joined = "\n".join(tokens).lower()  # one call for all words is much quicker than one for each
    if "'" in joined or "’" in joined:
        joined = _CLITIC.sub("", joined)
    return joined.split("\n") if joined else []


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text: cut after . ! ? before a capital, not after a title ("Mr."), and at empty lines."""
    start = 0
    for end in _END.finditer(text):
        if text[end.start()] == "." and text[max(0, end.start() - 5) : end.start()].rpartition(" ")[2] in _TITLES:
            continue
        yield from _bounded(text[start : end.end()])
        start = end.end()
    yield from _bounded(text[start:])


def _bounded(piece: str) -> Iterator[str]:
    piece = piece.strip()
    while len(piece) > LONGEST:
        cut = piece.rfind(" ", 0, LONGEST)
        cut = cut if cut > 0 else LONGEST
        yield piece[:cut]
        piece = piece[cut:].lstrip()
    if piece:
        yield piece


def polarity(low: Sequence[str]) -> int:
    """Return 1 where a sentence has more good than bad words, -1 where it has more bad ones, else 0. low: `plain` words.

    A word within two words of a "not" counts for the other side.
    """
    senses, balance = _senses(), 0
    for place in [place for place, word in enumerate(low) if word in senses]:
        turned = not _NOT.isdisjoint(low[max(0, place - 2) : place])
        balance += -senses[low[place]] if turned else senses[low[place]]
    return (balance > 0) - (balance < 0)


_NOT = frozenset(
    "not no never nor neither without hardly don doesn didn isn wasn aren weren won wouldn cannot couldn can't".split()
)


@cache
def function_words() -> frozenset[str]:
    """Return the words of grammar, which are not worth naming beside a group."""
    return frozenset(_load(FOLDER / "function_words.yaml")["words"].split())


@cache
def _senses() -> dict[str, int]:
    content = _load(FOLDER / "polarity.yaml")
    found = dict.fromkeys(content["positive"].split(), 1)
    return {**found, **dict.fromkeys(content["negative"].split(), -1)}


def digest(path: str | Path | None = None) -> str:
    """Return a digest of the word lists: another word, another result, and so another id. path: a lexicon in place of ours."""
    total = hashlib.sha256()
    for file in (Path(path or IDENTITY), *(FOLDER / f"{name}.yaml" for name in LISTS)):
        total.update(file.read_bytes() + b"\0")
    return total.hexdigest()


# -- reading --------------------------------------------------------------------------------------------------------------


@cache
def _read(path: Path, occupations: bool) -> Lexicon:
    content = _load(path)
    axes = content.get("axes")
    if not isinstance(axes, Mapping) or not axes:
        raise DataError("A lexicon has 'axes': axis -> group -> rule -> terms; see the file of the project.", file=path)
    entries = [entry for axis, groups in axes.items() for entry in _entries(path, str(axis), groups)]
    if occupations:
        for name, more in _load(FOLDER / "occupations.yaml").items():
            entries += [_Entry.of(term, OCCUPATION, name, "always") for term in (name, *more)]
    first: dict[str, list[_Entry]] = {}
    own: dict[str, set[str]] = {}
    persons = frozenset(str(content.get("persons", "")).split())
    for entry in entries:
        first.setdefault(entry.words[0], []).append(entry)
        asked = persons if entry.rule in ("person", "Person") else entry.context
        own.setdefault(entry.axis, set()).update(entry.words, asked)
    return Lexicon(
        axes={str(axis): tuple(map(str, groups)) for axis, groups in axes.items()},
        first={word: tuple(sorted(found, key=lambda e: -len(e.words))) for word, found in first.items()},
        keys=frozenset(first),
        own={axis: frozenset(found) for axis, found in own.items()},
        persons=persons,
        closing=frozenset(str(content.get("closing", "")).split()),
    )


def _entries(path: Path, axis: str, groups: Any) -> Iterator[_Entry]:
    if not isinstance(groups, Mapping):
        raise DataError(
            f"The axis {axis!r} is a {type(groups).__name__}; group -> rule -> terms is expected.", file=path
        )
    for group, rules in groups.items():
        place = f"{axis}, {group}"
        if not isinstance(rules, Mapping):
            message = f"{place}: rules with their terms are expected, such as {{always: [term]}}; got {rules!r}."
            raise DataError(message, file=path)
        for rule, terms in rules.items():
            if rule not in RULES:
                raise DataError(f"{place}: there is no rule {rule!r}.{nearest(str(rule), RULES)}", file=path)
            pairs = rule in ("after", "before")
            if not isinstance(terms, Mapping if pairs else list) or not terms:
                shape = "term -> list of words" if pairs else "a list of terms"
                raise DataError(f"{place}, {rule}: {shape} is expected; got {terms!r}.", file=path)
            for term in terms:
                given = terms[term] if pairs else []
                if not isinstance(term, str) or not term.strip() or not all(isinstance(word, str) for word in given):
                    raise DataError(f"{place}, {rule}: {term!r} is not a term in words.", file=path)
                yield _Entry.of(term, axis, str(group), rule, given)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"The word list cannot be read: {error}", file=path) from None
    if not isinstance(content, dict):
        raise DataError("A word list is a mapping; see the files of the project.", file=path)
    return content
