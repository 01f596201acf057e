"""Sentences with marked entities: CoNLL columns and texts with spans, as words with BIO tags; and how a tagger's work is counted.

BIO: B-x begins an entity of type x, I-x goes on, O is none. Files may write IOB1 (I-x begins, B-x only where two of a type touch).
It does not find entities: see `septet.data.tagger`.

    python -c "from septet.data.entities import spans; print(spans(['B-PER', 'I-PER', 'O', 'B-LOC']))"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from septet.core.errors import DataError, nearest
from septet.data.documents import JsonValue, read_rows
from septet.data.labelled import read_text
from septet.data.tags import to_bio

__all__ = ["Counts", "Entity", "Layout", "Tagged", "compare", "read_tagged", "spans", "tally", "tokenize"]

Layout = Literal["auto", "conll", "spans"]

# Titles and initials keep their full stop; words keep inner hyphens, apostrophes and full stops, but not an 's or 'm at their end;
# every other mark stands alone.
_TOKEN = re.compile(
    r"(?:Dr|Mr|Mrs|Ms|St|Prof|Jr|Sr|Rev|Gen|Sen|Rep|Gov|Capt|Lt|Col)\.|(?:[^\W\d_]\.)+(?=\W|$)|['’](?:s|m|d|ll|re|ve)\b"
    r"|\w+(?:(?:[-.&@]|['’](?!(?:s|m|d|ll|re|ve)\b))\w+)*|[^\w\s]",
    re.IGNORECASE,
)


class Entity(NamedTuple):
    """An entity of a type: words [start, end) of a sentence, or characters of a text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Tagged:
    """A sentence: words, and a BIO tag for each. group: what a split keeps together, such as a document or a template."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    group: str


def tokenize(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words and marks of a text.

    >>> ["Dr. O'Hara's J. R."[a:b] for a, b in tokenize("Dr. O'Hara's J. R.")]
    ['Dr.', "O'Hara", "'s", 'J.', 'R.']
    """
    return [match.span() for match in _TOKEN.finditer(text)]


def spans(tags: Sequence[str]) -> list[Entity]:
    """The entities of BIO tags, as `conlleval` reads them: an I- that follows no word of its type begins one as well."""
    found: list[Entity] = []
    for place, tag in enumerate(to_bio(tags, "bio")[0]):
        if tag.startswith("B-"):
            found.append(Entity(place, place + 1, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = found[-1]._replace(end=place + 1)
    return found


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one sentence: how many entities are right (extent and type), how many were found, how many there are."""

    right: int
    found: int
    gold: int


def compare(gold: Sequence[str], found: Sequence[str], label: str = "") -> Counts:
    """Compare two rows of BIO tags as `conlleval` does; with a label, entities of that type only."""
    wanted, had = ({one for one in spans(tags) if label in ("", one.label)} for tags in (gold, found))
    return Counts(len(wanted & had), len(had), len(wanted))


def read_tagged(
    path: str | Path,
    *,
    layout: Layout = "auto",
    text_field: str = "full_text",
    group_field: str = "template_id",
    entities: Mapping[str, str] | None = None,
) -> list[Tagged]:
    """The sentences of a file, plain or .gz. layout auto: JSON is spans, everything else CoNLL.

    conll: a word a line, its tag in the last column, an empty line between sentences; -DOCSTART- begins a group. spans: rows with a
    text and `spans` of {entity_type, start_position, end_position} or {label, start, end} in characters. entities: the file's types
    -> ours; types that it does not name are left out. Without it all stay as they are.
    Errors: DataError with file and row.
    """
    path = Path(path)
    if layout == "auto":
        layout = "spans" if ".json" in path.suffixes[-2:] or ".jsonl" in path.suffixes[-2:] else "conll"
    read = list(_conll(path) if layout == "conll" else _spans(path, text_field, group_field))
    known = {tag[2:] for one in read for tag in one.tags if tag != "O"}
    if not known:
        raise DataError("The file marks no entities.", file=path)
    if entities:
        for name in entities:
            if name not in known:
                raise DataError(f"No entity is of the type {name!r}.{nearest(name, known)}", file=path)
        read = [_renamed(one, entities) for one in read]
    return read


def _renamed(one: Tagged, entities: Mapping[str, str]) -> Tagged:
    names = {tag: f"{tag[:2]}{entities[tag[2:]]}" if tag[2:] in entities else "O" for tag in set(one.tags)}
    return replace(one, tags=tuple(names[tag] for tag in one.tags))


def _conll(path: Path) -> Iterator[Tagged]:
    words: list[str] = []
    tags: list[str] = []
    document = ""
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        columns = [column.strip() for column in columns]
        if any(columns) and columns[0] != "-DOCSTART-":
            if len(columns) < 2 or not re.fullmatch(r"O|[BI]-.+", columns[-1]):
                raise DataError(
                    f"A word and at the end a tag (O, B-x or I-x) are expected, not {line!r}.", file=path, row=number
                )
            words.append(columns[0])
            tags.append(columns[-1])
            continue
        if words:
            yield Tagged(tuple(words), tuple(to_bio(tags, "bio")[0]), document or f"row {number - len(words)}")
            words, tags = [], []
        if any(columns):
            document = f"document at row {number}"


def _spans(path: Path, text_field: str, group_field: str) -> Iterator[Tagged]:
    for number, row in read_rows(path):
        text = row.get(text_field)
        if not isinstance(text, str) or not isinstance(row.get("spans"), list):
            missing = "spans" if isinstance(text, str) else text_field
            raise DataError(f"There is no field {missing!r} as expected.{nearest(missing, row)}", file=path, row=number)
        marked = [_entity(path, number, text, one) for one in row["spans"]]
        places = tokenize(text)
        tags = ["O"] * len(places)
        for start, end, label in marked:
            inside = [place for place, (a, b) in enumerate(places) if a < end and b > start]
            for place in inside:
                tags[place] = f"{'B' if place == inside[0] else 'I'}-{label}"
        group = row.get(group_field)
        words = tuple(text[a:b] for a, b in places)
        if words:
            yield Tagged(words, tuple(tags), f"row {number}" if group is None else str(group))


def _entity(path: Path, number: int, text: str, one: JsonValue) -> Entity:
    keys = ("start_position", "end_position", "entity_type")
    if isinstance(one, dict) and "entity_type" not in one:
        keys = ("start", "end", "label")
    values = [one.get(key) if isinstance(one, dict) else None for key in keys]
    start, end, label = values
    if not (
        isinstance(start, int) and isinstance(end, int) and isinstance(label, str) and 0 <= start < end <= len(text)
    ):
        raise DataError(f"A span needs {', '.join(keys)} inside the text; got {one!r}.", file=path, row=number)
    return Entity(start, end, label)


def tally(tagged: Sequence[Tagged]) -> dict[str, int]:
    """How many entities there are of each type."""
    return dict(sorted(Counter(entity.label for one in tagged for entity in spans(one.tags)).items()))
