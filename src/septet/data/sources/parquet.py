"""One's own tables: Parquet files, one document a row.

Only the columns that the fields name are read, one row group after the other. It reads no data set folder of the `datasets`
library: for that see `datasets-folder`.

    septet corpus --source '{kind: parquet, path: shards/, text_field: content}'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from septet.data.documents import Document
from septet.data.files import File, FileSource, Pattern
from septet.data.rows import Ids, RowSource, parquet_rows
from septet.data.source import Bad

__all__ = ["Parquet"]


class Parquet(RowSource, FileSource):
    """Documents from the rows of Parquet files."""

    nothing_inside: ClassVar[str] = "the file holds no rows"

    pattern: Pattern = "**/*.parquet*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """One document a row. Errors: DataError where there is no column of a named field."""
        ids = Ids()
        with file.seekable(bad) as stream:
            if stream is None:
                return
            for number, _, row in parquet_rows(stream, file.name, self, bad):
                doc = self.document(
                    row, file=file.name, line=number, place=file.place(number, 0), row_id=file.id(number, 0), ids=ids, bad=bad
                )  # fmt: skip
                if doc is not None:
                    yield doc
