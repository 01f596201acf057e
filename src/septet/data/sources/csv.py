"""One's own tables: CSV and TSV files, one document a row.

The first row names the columns, unless `columns` does. Quoted fields may hold newlines. A row with more or fewer fields than
there are columns is named and left out. It reads no spreadsheets; export them as CSV.

    septet corpus --source '{kind: csv, path: reviews.csv.gz, text_field: review}'
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from pydantic import field_validator

from septet.data.documents import Document
from septet.data.files import MAX_RECORD, Encoding, File, FileSource, Pattern, decode_line, lines, not_text
from septet.data.rows import Ids, RowSource
from septet.data.source import Bad

__all__ = ["Csv"]

DELIMITERS = ",;\t|"
TRIES = 1000  # quotes that are not closed, after which what they swallow is lost


class Csv(RowSource, FileSource):
    """Documents from the rows of CSV files."""

    nothing_inside: ClassVar[str] = "the file holds no rows"

    pattern: Pattern = "**/*.{csv,tsv}*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""
    delimiter: str = ""
    """What stands between two fields; without it, what the first row has most of: comma, semicolon, tab or bar."""
    columns: tuple[str, ...] = ()
    """The names of the columns in files whose first row does not give them."""
    encoding: Encoding = "utf-8"
    """What the text is where it has no byte-order mark and is not UTF-8."""

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if len(value) > 1 or value in ("\n", "\r", '"'):
            raise ValueError(f"the delimiter must be one character, and no quote or newline; got {value!r}.")
        return value

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """One document a row; its number is that of its first line. Errors: DataError where a named column is not there."""
        ids, names = Ids(), self.columns
        if names:
            self.require(names, file.name)
        for number, values in self._records(file, bad):
            if not names:
                names = tuple(name.strip() for name in values)
                self.require(names, file.name)
                continue
            place = file.place(number, 0)
            if len(values) != len(names):
                bad(place, f"the row has {len(values)} fields and there are {len(names)} columns")
                continue
            row = {name: _mended(value, self.encoding) for name, value in zip(names, values, strict=True)}
            if None in row.values():
                bad(place, not_text(",".join(values).encode("utf-8", "surrogateescape"), self.encoding))
                continue
            doc = self.document(
                row, file=file.name, line=number, place=place,
                row_id=file.id(number, 0), ids=ids, bad=bad,
            )  # fmt: skip
            if doc is not None:
                yield doc

    def _records(self, file: File, bad: Bad) -> Iterator[tuple[int, list[str]]]:
        """(number of its first line, fields) of every record. After a quote that is never closed, the next line begins anew."""
        csv.field_size_limit(MAX_RECORD)  # of the whole process, and only ever raised
        rows = _Lines(file, self.encoding, bad)
        delimiter = self.delimiter or rows.delimiter()
        reader = csv.reader(rows, delimiter=delimiter)
        while True:
            rows.begin()
            problem = ""
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                values, problem = [], str(error)
            number = rows.taken[0][0]
            ended = rows.ended and len(rows.taken) > 1 and sum(line.count('"') for _, line in rows.taken) % 2 == 1
            if problem or ended:
                bad(file.place(number, 0), problem or "a quote that is opened here is not closed")
                rows.again()
                reader = csv.reader(rows, delimiter=delimiter)
            elif values:
                yield number, values


def _mended(value: str, encoding: str) -> str | None:
    """A field as text: UTF-8, else `encoding`, else None."""
    if value.isascii():
        return value
    return decode_line(value.encode("utf-8", "surrogateescape"), encoding)


class _Lines:
    """The lines of a file for `csv.reader`; keeps those of the record at hand, so that reading may begin anew after its first."""

    def __init__(self, file: File, encoding: str, bad: Bad) -> None:
        every = lines(file, bad, encoding=encoding)
        # bytes that are not UTF-8 are kept as they are, for the record to tell of: a line may close the quote of another
        self._lines = ((number, raw.decode("utf-8", "surrogateescape") + "\n") for number, _, raw in every)
        self._ahead: deque[tuple[int, str]] = deque()
        self._tries = 0
        self._size = 0
        self.taken: list[tuple[int, str]] = []
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        item = self._ahead.popleft() if self._ahead else next(self._lines, None)
        if item is None:
            self.ended = True
            raise StopIteration
        self.taken.append(item)
        self._size += len(item[1])
        if self._size > MAX_RECORD:
            raise csv.Error(f"the row is longer than {MAX_RECORD >> 20} MiB")
        return item[1]

    def begin(self) -> None:
        """A new record begins."""
        self.taken.clear()
        self._size = 0

    def again(self) -> None:
        """Give the lines of the record once more, without its first; not for ever, since each time may read far ahead."""
        self._tries += 1
        if self._tries <= TRIES:
            self._ahead.extendleft(reversed(self.taken[1:]))
            self.ended = False

    def delimiter(self) -> str:
        """The character of `DELIMITERS` that the first line has most of, outside of quotes."""
        first = next(self, "")
        self._ahead.extendleft(reversed(self.taken))
        self.begin()
        bare = re.sub(r'"[^"]*"', "", first)
        return max(DELIMITERS, key=bare.count)
