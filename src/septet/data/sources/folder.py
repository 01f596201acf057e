"""One's own files of any format: everything below a folder that one of the other kinds can read.

The suffix says which: .txt, .md, .html, .pdf, .jsonl, .parquet, .csv, .tsv, .warc and .wet, also packed (.gz, .zst) and inside
.zip archives. Rows need a field `text`. Hidden files and folders are not read, nor is anything that a link points to outside the
folder; what cannot be read is left out and named in the corpus report. For anything but the defaults of a format, use its own
kind. It reads no office formats: convert them to text first.

    septet corpus --source '{kind: folder, path: docs/}'
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.core.registry import find
from septet.data.documents import Document
from septet.data.files import File, FileSource
from septet.data.rows import ColumnError
from septet.data.source import Bad, Part
from septet.data.unpack import plain_name

__all__ = ["Folder"]

FORMATS = {
    "txt": "text", "text": "text", "md": "markdown", "markdown": "markdown", "html": "html", "htm": "html", "xhtml": "html",
    "pdf": "pdf", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet", "csv": "csv", "tsv": "csv", "warc": "warc",
    "wet": "warc",
}  # fmt: skip


class Folder(FileSource):
    """Documents from all files whose format is known."""

    version: ClassVar[int] = 2

    path: InputPath
    """The folder, or a .zip archive."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """What the file's own kind gives with its defaults."""
        kind = _reader(FORMATS[_suffix(file.name)])
        fields = {"on_missing": "skip"} if "on_missing" in kind.model_fields else {}
        reader: FileSource = kind(path=self.path, **fields)
        try:
            yield from reader.documents(file, bad)
        except ColumnError as error:  # nobody named a column of this file, so the recipe is not at fault
            bad(file.name, str(error).removeprefix(f"{file.name}: "))

    def wants(self, name: str) -> bool:
        """Whether the pattern takes the file and its suffix is known."""
        return _suffix(name) in FORMATS and super().wants(name)

    def nothing(self) -> str:
        """What is said of a folder without a file of a known format."""
        return f"The folder has no file that can be read; known are {', '.join('.' + suffix for suffix in FORMATS)}."

    def parts(self) -> Sequence[Part]:
        """One part a file, in the order of the names. Errors: DataError where the path is no folder or archive."""
        path = Path(self.path)
        if path.is_file() and path.suffix.lower() != ".zip":
            raise DataError(
                "This is a file; the source 'folder' expects a folder (for rows of JSON use 'jsonl').", file=path
            )
        return super().parts()


@cache  # a look at the drawer for each of many files
def _reader(kind: str) -> type[FileSource]:
    return find(Folder.drawer, kind, family=FileSource)


def _suffix(name: str) -> str:
    return plain_name(name).rpartition("/")[2].rpartition(".")[2].lower()
