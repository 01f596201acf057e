"""Words and tags in columns, one word a line and a blank line after each sentence, as in the CoNLL tasks; tags come out as BIO.

Tags in are BIO (IOB2: every entity begins with B-), IOB1 (B- is needed only between entities that touch, as in CoNLL-2003) or
BIOES (S- for entities of one word, E- for the last), told apart by how the training files use them. `-DOCSTART-` lines begin a
document, and a split keeps documents whole. A tag that cannot stand where it stands is named, or read as conlleval reads it: what
does not go on begins an entity. It reads neither CoNLL-U nor tags without prefixes.

    septet dataset --builder '{kind: conll, train: eng.train, validation: eng.testa, test: eng.testb}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from septet.data.builder import Row
from septet.data.divide import Found
from septet.data.files import File
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of, text_lines

__all__ = ["Conll", "scheme_of", "to_bio"]

Scheme = Literal["auto", "bio", "iob1", "bioes"]
BEGINS = {"bio": "B", "iob1": "B", "bioes": "BS"}
LETTERS = {"bio": "BI", "iob1": "BI", "bioes": "BIES"}
SAME = {"L": "E", "U": "S", "M": "I", "W": "S"}  # BILOU, BMES, BMEWO: other letters for the same


@dataclass(frozen=True, slots=True)
class _Sentence:
    words: list[str]
    tags: list[str]
    lines: list[int]
    file: File
    group: str


class Conll(PartsBuilder):
    """Rows of words and their tags from files of columns."""

    word_column: int = 0
    """The column of the word, from 0; negative ones count from the last."""
    tag_column: int = -1
    """The column of the tag."""
    delimiter: str = Field(default="", max_length=1)
    """What stands between two columns; without it, a tab where a file has tabs, else any white space."""
    scheme: Scheme = "auto"
    """How entities are tagged in the files."""
    on_malformed: Literal["refuse", "repair"] = "refuse"
    """Tags that cannot stand where they stand: bad rows, or read as the beginning of an entity, and counted."""

    def gather(self, parts: Mapping[str, Paths], problems: Problems) -> Gathered:
        """One row a sentence. Errors: DataError where a file has too few columns, or tags without prefixes."""
        read = {part: list(self._sentences(paths, problems)) for part, paths in parts.items()}
        scheme = self.scheme if self.scheme != "auto" else scheme_of(one.tags for one in read["train"])
        rows: dict[str, list[Found]] = {}
        repaired = 0
        for part, sentences in read.items():
            rows[part] = []
            for one in sentences:
                tags, wrong = to_bio(one.tags, scheme)
                if wrong and self.on_malformed == "refuse":
                    at = wrong[0]
                    before = f" after {one.tags[at - 1]!r}" if at else " at the beginning of a sentence"
                    advice = "set on_malformed: repair to read it as the beginning of an entity"
                    problems(
                        one.file.place(one.lines[at], 0),
                        f"the tag {one.tags[at]!r} cannot stand{before} in {scheme}; {advice}",
                    )
                    continue
                repaired += len(wrong)
                row: Row = {"words": one.words, "tags": tags}
                rows[part].append(
                    Found({**row, "group": one.group} if one.group else row, one.file.place(one.lines[0], 0))
                )
        notes = {"tags_repaired": repaired, "sentences": sum(map(len, rows.values()))}
        return Gathered("tagging", rows, notes=notes, remarks=[f"The tags are read as {scheme} and written as BIO."])

    def _sentences(self, paths: Paths, problems: Problems) -> Iterator[_Sentence]:
        for count, file in enumerate(files_of(paths, problems), start=1):
            documents, group = 0, ""
            words: list[str] = []
            tags: list[str] = []
            places: list[int] = []
            delimiter, broken = self.delimiter, False
            for number, line in (*text_lines(file, problems, self.encoding), (0, "")):
                if not delimiter and line.strip():
                    delimiter = "\t" if "\t" in line else " "
                cells = line.split() if delimiter in ("", " ") else line.split(delimiter)
                cells = [cell.strip() for cell in cells] if line.strip() else []
                if cells and cells[0] == "-DOCSTART-":
                    documents += 1
                    group, cells = f"{count}:{documents}", []
                if not cells:
                    if words and not broken:
                        yield _Sentence(words, tags, places, file, group)
                    words, tags, places, broken = [], [], [], False
                    continue
                word, tag = _cell(cells, self.word_column), _cell(cells, self.tag_column)
                problem = self._problem(cells, word, tag)
                if problem:
                    if not broken:
                        problems(file.place(number, 0), problem)
                    broken = True
                words.append(word)
                tags.append(tag)
                places.append(number)

    def _problem(self, cells: Sequence[str], word: str, tag: str) -> str:
        needed = max(n + 1 if n >= 0 else -n for n in (self.word_column, self.tag_column))
        if len(cells) < max(needed, 2):
            return f"the line has {len(cells)} columns; {max(needed, 2)} or more are expected"
        if not word or not tag:
            return "the word or the tag is empty"
        prefix, dash, kind = tag.partition("-")
        if tag != "O" and (not dash or not kind or SAME.get(prefix, prefix) not in LETTERS["bioes"]):
            where = f"the tag is read from column {self.tag_column}"
            return f"the tag {tag!r} is neither O nor a prefix and a type such as B-PER; {where}"
        return ""


def _cell(cells: Sequence[str], column: int) -> str:
    return cells[column] if -len(cells) <= column < len(cells) else ""


def _parts(tag: str) -> tuple[str, str]:
    """Prefix and type; ("O", "") outside."""
    prefix, _, kind = tag.partition("-")
    return SAME.get(prefix, prefix), kind


def scheme_of(sentences: Iterable[Sequence[str]]) -> str:
    """Return "bio", "iob1" or "bioes", by how the tags are used.

    IOB1 where more entities begin with I- than with a B- that follows no tag of its own type; BIOES where a tag is E- or S-.

    >>> scheme_of([["I-PER", "I-PER", "B-PER", "O"]]), scheme_of([["B-PER", "I-PER"]]), scheme_of([["S-PER"]])
    ('iob1', 'bio', 'bioes')
    """
    begins_inside = begins_apart = 0
    for tags in sentences:
        before = ""
        for prefix, kind in map(_parts, tags):
            if prefix in "ES":
                return "bioes"
            begins_inside += prefix == "I" and kind != before
            begins_apart += prefix == "B" and kind != before
            before = kind
    return "iob1" if begins_inside > begins_apart else "bio"


def to_bio(tags: Sequence[str], scheme: str) -> tuple[list[str], list[int]]:
    """Return the tags in BIO, and the places of those that cannot stand where they stand.

    What does not go on with the entity before it begins one, as in conlleval.

    >>> to_bio(["I-PER", "B-PER", "O"], "iob1"), to_bio(["I-PER"], "bio"), to_bio(["B-PER", "E-PER", "S-LOC"], "bioes")
    ((['B-PER', 'B-PER', 'O'], []), (['B-PER'], [0]), (['B-PER', 'I-PER', 'B-LOC'], []))
    """
    found: list[str] = []
    wrong: list[int] = []
    open_type = ""  # of the entity that the next word may go on with
    for place, (prefix, kind) in enumerate(map(_parts, tags)):
        goes_on = prefix in ("I", "E") and kind == open_type
        if prefix not in ("O", *LETTERS[scheme]):
            wrong.append(place)
        elif scheme == "bio":
            if prefix == "I" and not goes_on:
                wrong.append(place)
        elif scheme == "bioes" and not goes_on and (open_type or prefix in ("I", "E")):
            wrong.append(place)
        found.append("O" if prefix == "O" else f"{'I' if goes_on else 'B'}-{kind}")
        # in BIOES nothing goes on after the last word of an entity
        open_type = "" if prefix == "O" or (scheme == "bioes" and prefix in ("E", "S")) else kind
    if scheme == "bioes" and open_type:
        wrong.append(len(tags) - 1)
    return found, sorted(set(wrong))
