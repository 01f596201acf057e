"""Words and tags in columns, one word a line and a blank line after each sentence, as in the CoNLL tasks; tags come out as BIO.

Tags in are BIO (IOB2: every entity begins with B-), IOB1 (B- is needed only between entities that touch, as in CoNLL-2003) or
BIOES (S- for entities of one word, E- for the last), told apart by how the training files use them. `-DOCSTART-` lines begin a
document, and a split keeps documents whole. A tag that cannot stand where it stands is named, or read as conlleval reads it: what
does not go on begins an entity. It reads neither CoNLL-U nor tags without prefixes.

    septet dataset --builder '{kind: conll, train: eng.train, validation: eng.testa, test: eng.testb}'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from septet.data.builder import Row
from septet.data.divide import Found
from septet.data.files import File
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of, text_lines
from septet.data.tags import Scheme, cannot_stand, no_tag, scheme_of, to_bio

__all__ = ["Conll"]


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
                    problems(one.file.place(one.lines[wrong[0]], 0), cannot_stand(one.tags, wrong[0], scheme))
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
        problem = no_tag(tag)
        return f"{problem}; the tag is read from column {self.tag_column}" if problem else ""


def _cell(cells: Sequence[str], column: int) -> str:
    return cells[column] if -len(cells) <= column < len(cells) else ""
