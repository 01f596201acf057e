"""One's own rows: JSON lines (or one JSON list), plain, .gz or .zst, one document a row.

A folder is read file by file, in the order of the names. Rows are not questions and answers: for those see the dataset
builder of the same name.

    septet corpus --source '{kind: jsonl, path: rows.jsonl.gz, text_field: body}'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from septet.data.documents import Document
from septet.data.files import File, FileSource, Pattern
from septet.data.rows import Ids, RowSource, json_rows
from septet.data.source import Bad

__all__ = ["Jsonl"]


class Jsonl(RowSource, FileSource):
    """Documents from rows of JSON."""

    version: ClassVar[int] = 2
    nothing_inside: ClassVar[str] = "The file holds no rows; one JSON object a line is expected."

    pattern: Pattern = "**/*.{json,ndjson}*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """One document a row."""
        ids = Ids()
        for number, offset, row in json_rows(file, bad):
            doc = self.document(
                row, file=file.name, line=0 if file.end else number, place=file.place(number, offset),
                row_id=file.id(number, offset), ids=ids, bad=bad,
            )  # fmt: skip
            if doc is not None:
                yield doc

    def can_cut(self, beginning: bytes) -> bool:
        """JSON lines may be read in parts; one list may not."""
        return not beginning.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
