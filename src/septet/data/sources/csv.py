"""One's own tables: CSV and TSV files, one document a row.

The first row names the columns, unless `columns` does. Quoted fields may hold newlines. A row with more or fewer fields than
there are columns is named and left out. It reads no spreadsheets; export them as CSV.

    septet corpus --source '{kind: csv, path: reviews.csv.gz, text_field: review}'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import field_validator

from septet.data.delimited import delimited_rows
from septet.data.documents import Document
from septet.data.files import Encoding, File, FileSource, Pattern
from septet.data.rows import Ids, RowSource
from septet.data.source import Bad

__all__ = ["Csv"]


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
        ids = Ids()
        rows = delimited_rows(
            file, bad, delimiter=self.delimiter, columns=self.columns, encoding=self.encoding,
            check=lambda names: self.require(names, file.name),
        )  # fmt: skip
        for number, row in rows:
            doc = self.document(
                row, file=file.name, line=number, place=file.place(number, 0),
                row_id=file.id(number, 0), ids=ids, bad=bad,
            )  # fmt: skip
            if doc is not None:
                yield doc
