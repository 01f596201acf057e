"""One's own tables for any task: CSV, TSV, JSON, Parquet or XML, their columns mapped to what the task needs.

Task and columns are inferred from the names and values of the training rows, told, and can be given instead. JSON is one object a
line or one list; of XML, every child of the root is a row, with its attributes and its children's texts as columns. All may be
.gz, .zst or in a .zip. Columns may name .vtt and .srt files of transcripts. It reads no spreadsheets; export them as CSV.

    septet dataset --builder '{kind: table, train: reviews.csv, columns: {text: sentence, label: sentiment}}'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.data.delimited import delimited_rows
from septet.data.documents import JsonValue
from septet.data.files import File, Pattern, decode, is_inside
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of
from septet.data.rows import EveryColumn, class_names, json_rows, parquet_rows
from septet.data.shape import Unfit
from septet.data.source import Bad
from septet.data.tabular import Placed, TabularBuilder
from septet.data.transcripts import as_text, is_transcript, read_transcript
from septet.data.unpack import plain_name

__all__ = ["Table"]

Format = Literal["auto", "csv", "json", "parquet", "xml"]
ENDINGS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet",
    ".xml": "xml",
}  # fmt: skip


class Table(PartsBuilder, TabularBuilder):
    """Rows of tables."""

    version: ClassVar[int] = 2  # numbered labels get the names that Parquet files bring
    format: Format = "auto"
    """How the files are written; auto goes by the ending of each."""
    pattern: Pattern = "**/*"
    """Which files of a folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""
    delimiter: str = Field(default="", max_length=1)
    """What stands between two fields of CSV; without it, what the first row has most of: comma, semicolon, tab or bar."""
    quotes: bool = True
    """Whether quotes may enclose a field of CSV; false for TSV in which a quote is a letter like any other."""
    header: tuple[str, ...] = ()
    """The names of the columns in CSV whose first row does not give them."""
    transcripts: InputPath | None = None
    """The folder of the .vtt and .srt files that a column names; their text takes the place of the name."""
    times: bool = False
    """Whether the text of a transcript says when each piece was said."""

    def gather(self, parts: Mapping[str, Paths], problems: Problems) -> Gathered:
        """Errors: DataError where a named column is not there, or the columns do not say what the rows are for."""
        classes: dict[str, list[str]] = {}
        rows = {part: list(self._rows(paths, problems, classes)) for part, paths in parts.items()}
        return self.shape(rows, problems, place=parts["train"][0], classes=classes)

    def _rows(self, paths: Paths, problems: Problems, classes: dict[str, list[str]]) -> Iterator[Placed]:
        """Every row of a part; the names of numbered classes that its files know come to `classes`."""
        for file in files_of(paths, problems, self.pattern):
            for number, offset, row in self._read(file, problems, classes):
                yield file.place(number, offset), row

    def _read(
        self, file: File, bad: Bad, classes: dict[str, list[str]]
    ) -> Iterator[tuple[int, int, Mapping[str, JsonValue]]]:
        format = self.format if self.format != "auto" else ENDINGS.get(Path(plain_name(file.name)).suffix.lower())
        if format is None:
            known = ", ".join(ENDINGS)
            raise DataError(
                f"The ending does not say what the file is; set 'format', or use one of {known}.", file=file.name
            )
        if format == "json":
            yield from json_rows(file, bad)
        elif format == "csv":

            def tell(place: str, reason: str) -> None:
                bad(
                    place,
                    f"{reason}; where a quote is a letter like any other, set quotes: false"
                    if "quote" in reason
                    else reason,
                )

            rows = delimited_rows(
                file, tell, delimiter=self.delimiter, columns=self.header, encoding=self.encoding, quotes=self.quotes, strict=True
            )  # fmt: skip
            yield from ((number, 0, row) for number, row in rows)
        elif format == "xml":
            yield from _xml_rows(file, bad)
        else:
            with file.seekable(bad) as stream:
                if stream is not None:
                    classes |= class_names(stream)
                    yield from parquet_rows(stream, file.name, EveryColumn(), bad)

    def opened(self, value: str) -> str | None:
        """The text of the transcript that a field names; None for a field that is text. Errors: Unfit."""
        if not is_transcript(value):
            return None
        if self.transcripts is None:
            raise Unfit(f"{value.strip()!r} names a transcript; say in which folder it is with transcripts.")
        folder = Path(self.transcripts)
        path = folder / value.strip()
        if not path.is_file() or not is_inside(path, folder):
            raise Unfit(f"there is no transcript {value.strip()!r} in {folder}.")
        text = decode(path.read_bytes(), self.encoding)
        if text is None:
            raise Unfit(f"the transcript {value.strip()!r} is not UTF-8; say what it is with encoding.")
        try:
            return as_text(read_transcript(text, path), times=self.times)
        except DataError as error:
            raise Unfit(str(error)) from None


def _xml_rows(file: File, bad: Bad) -> Iterator[tuple[int, int, dict[str, JsonValue]]]:
    """Every child of the root. An entity that is not of XML itself, or a document type from elsewhere, is not read."""
    from xml.etree import ElementTree  # 10 ms

    raw = file.whole(bad)
    if raw is None:
        return
    try:
        root = ElementTree.fromstring(raw)
    except ElementTree.ParseError as error:
        bad(file.name, f"not XML ({error})")
        return
    for number, child in enumerate(root, start=1):
        texts = {part.tag: "".join(part.itertext()).strip() for part in child}
        yield number, 0, {**child.attrib, **texts}
