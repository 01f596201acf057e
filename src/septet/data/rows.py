"""What the sources of rows share: which field of a row is what of a document.

A row is a mapping from field names to values: a line of JSON, a record of a table. The text is one field; id, name, group and
licence may be others.

What it is not: a reader. The kinds in `septet.data.sources` read rows and hand them to `RowSource.document` one by one.

    python -m pytest tests/data/test_row_sources.py
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Literal, Protocol

from septet.core.errors import DataError, nearest
from septet.core.extras import need
from septet.data.documents import Document, JsonValue
from septet.data.files import MAX_RECORD, File, lines
from septet.data.source import Bad, Source

__all__ = ["ColumnError", "Columns", "Ids", "RowSource", "batch_rows", "first_line", "json_rows", "parquet_rows"]

REMEMBERED = 1 << 16  # ids of a part that are compared with; enough to notice that a column holds no ids
BATCH = 256  # rows of a table that are held at a time

Row = tuple[int, int, Mapping[str, JsonValue]]
"""(number from 1, byte where it begins or 0, fields)."""


class Columns(Protocol):
    """Which columns of a table are read."""

    def require(self, known: Iterable[str], file: object) -> None:
        """Look at the names of the columns; raise DataError where one is lacking."""

    def named(self) -> list[str]:
        """The names of the columns that are read; asked for after `require`."""
        ...


class ColumnError(DataError):
    """A table has no column that the recipe names."""


class _Unfit(Exception):
    """What is wrong with a row, in words for people."""


class Ids:
    """Notices an id that comes twice in one part, among its first 65,536."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def check(self, doc_id: str, place: str) -> None:
        """Errors: DataError naming both rows."""
        if doc_id in self._seen:
            message = f"The id {doc_id!r} was already used in {self._seen[doc_id]}; ids must be unique."
            raise DataError(message, file=place)
        if len(self._seen) < REMEMBERED:
            self._seen[doc_id] = place


class RowSource(Source):
    """A source whose documents are rows with named fields."""

    text_field: str = "text"
    """The field that holds the text, or a list of its sentences."""
    id_field: str | None = None
    """The field that holds a unique id; without it, file name and row number."""
    name_field: str | None = None
    """The field that holds the name shown to users; without it, the id."""
    group_field: str | None = None
    """The field whose value keeps documents together in a held-out split."""
    licence_field: str | None = None
    """The field that holds the licence of a document; rows may leave it out."""
    on_missing: Literal["stop", "skip"] = "stop"
    """What happens to a row that lacks a named field, or holds something else there: stop, or name it and go on."""

    def named(self) -> list[str]:
        """The names of the fields that are read, the text's first."""
        named = (self.text_field, self.id_field, self.name_field, self.group_field, self.licence_field)
        return list(dict.fromkeys(name for name in named if name is not None))

    def require(self, known: Iterable[str], file: object) -> None:
        """Errors: ColumnError where a table has no column that the fields name, with the nearest one that it has."""
        known = list(known)
        for name in self.named():
            if name not in known:
                how = " Say where the text is with text_field." if name == self.text_field else ""
                raise ColumnError(f"There is no column {name!r}.{how}{nearest(name, known)}", file=file)

    def document(
        self, row: Mapping[str, JsonValue], *, file: str, line: int, place: str, row_id: str, ids: Ids, bad: Bad
    ) -> Document | None:
        """The document of a row, or None after `bad`. `row_id` is its id where no field holds one.

        Errors: DataError with `place` for a repeated id, and, where `on_missing` is "stop", for a missing field or a wrong type.
        """
        try:
            doc_id = self._value(row, self.id_field) or row_id
            text = self._text(row)
            if len(text) > MAX_RECORD:
                bad(place, f"the text is longer than {MAX_RECORD >> 20} MiB")
                return None
            doc = Document(
                id=doc_id, text=text, name=self._value(row, self.name_field) or doc_id, file=file, line=line,
                group=self._value(row, self.group_field), licence=self._licence(row),
            )  # fmt: skip
        except _Unfit as error:
            if self.on_missing == "stop":
                raise DataError(str(error), file=place) from None
            bad(place, str(error))
            return None
        if self.id_field is not None:
            ids.check(doc_id, place)
        return doc

    def _text(self, row: Mapping[str, JsonValue]) -> str:
        value = row.get(self.text_field)
        if self.text_field not in row:
            message = f"The field {self.text_field!r} is missing; say where the text is with text_field."
            raise _Unfit(message + nearest(self.text_field, row))
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            value = " ".join(value)  # sentences, as builders read them too
        if not isinstance(value, str):
            raise _Unfit(
                f"The field {self.text_field!r} holds {type(value).__name__}; a string, or a list of sentences, is expected."
            )
        return value

    def _value(self, row: Mapping[str, JsonValue], field: str | None) -> str:
        """A field that names something, as text; "" where none was asked for."""
        if field is None:
            return ""
        value = row.get(field)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            what = "is missing or empty" if value in (None, "") else f"holds {type(value).__name__}"
            message = f"The field {field!r} {what}; a string or a number is expected."
            raise _Unfit(message + (nearest(field, row) if field not in row else ""))
        return str(value)

    def _licence(self, row: Mapping[str, JsonValue]) -> str:
        value = row.get(self.licence_field) if self.licence_field is not None else None
        return value if isinstance(value, str) else ""


def json_rows(file: File, bad: Bad) -> Iterator[Row]:
    """The rows of JSON lines, or of one JSON list of objects of at most 64 MiB. What is no JSON object goes to `bad`."""
    first = True
    for number, offset, raw in lines(file, bad):
        if not raw.strip():
            continue
        if first and not file.start and raw.lstrip().startswith(b"["):
            yield from _json_list(file, bad)
            return
        first = False
        row = _json_object(raw, file.place(number, offset), bad)
        if row is not None:
            yield number, offset, row


def _json_object(raw: bytes, place: str, bad: Bad) -> dict[str, JsonValue] | None:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        bad(place, f"not UTF-8 ({error.reason} at byte {error.start} of the row)")
    except json.JSONDecodeError as error:
        bad(place, f"not JSON ({error.msg}, column {error.colno}); one JSON object a line is expected")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand open brackets
        bad(place, f"not JSON that can be read ({type(error).__name__})")
    else:
        if isinstance(row, dict):
            return row
        bad(place, f'a JSON {type(row).__name__}; an object such as {{"text": "..."}} is expected')
    return None


def _json_list(file: File, bad: Bad) -> Iterator[Row]:
    raw = file.whole(bad)
    if raw is None:
        return
    try:
        rows = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        bad(file.name, f"not JSON ({error}); a list of objects or JSON lines is expected")
        return
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield number, 0, row
        else:
            bad(file.place(number, 0), f"a JSON {type(row).__name__}; an object is expected")


class EveryColumn:
    """All columns of a Parquet file, as `parquet_rows` asks for them."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def require(self, known: Iterable[str], file: object) -> None:
        self._known = list(known)

    def named(self) -> list[str]:
        return self._known


def class_names(stream: BinaryIO | io.IOBase) -> dict[str, list[str]]:
    """Return the names of numbered classes by column, where the `datasets` library wrote the Parquet file; else nothing."""
    pyarrow, parquet = need("pyarrow", "corpus"), need("pyarrow.parquet", "corpus")  # 120 ms
    try:
        told = json.loads((parquet.read_schema(stream).metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        found = {column: _names(feature) for column, feature in features.items()}
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a note beside the rows: what is wrong with the file is said when they are read
    return {column: [str(name) for name in names] for column, names in found.items() if isinstance(names, list)}


def _names(feature: Any) -> Any:
    """The names of numbered classes, or of a list of such: {"feature": ...}, and in older files [...]."""
    if isinstance(feature, list) and feature:
        return _names(feature[0])
    return feature.get("names", _names(feature.get("feature"))) if isinstance(feature, dict) else None


def parquet_rows(stream: BinaryIO | io.IOBase, name: str, source: Columns, bad: Bad) -> Iterator[Row]:
    """The rows of a Parquet file, only the columns that `source` names. A damaged row group goes to `bad`, the others are read.

    Errors: DataError where there is no such column.
    """
    pyarrow, parquet = need("pyarrow", "corpus"), need("pyarrow.parquet", "corpus")  # 120 ms
    broken = (pyarrow.ArrowException, OSError, UnicodeDecodeError)
    try:
        # page by page: without these two a whole row group is held, which may be the whole file
        table = parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)
    except broken as error:
        bad(name, f"not a Parquet file that can be read ({first_line(error)})")
        return
    source.require(table.schema_arrow.names, name)
    number = 0
    for group in range(table.num_row_groups):
        begins, number = number, number + table.metadata.row_group(group).num_rows
        try:
            for batch in table.iter_batches(BATCH, row_groups=[group], columns=source.named(), use_threads=False):
                for place, row in batch_rows(batch, begins + 1, name, bad):
                    yield place, 0, row
                begins += len(batch)
        except broken as error:
            bad(f"{name}, rows {begins + 1} to {number}", f"the row group is damaged ({first_line(error)})")


def batch_rows(batch: Any, first: int, name: str, bad: Bad) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """(number, fields) of the rows of an Arrow batch whose first one is number `first`; what is not UTF-8 goes to `bad`."""
    try:
        yield from enumerate(batch.to_pylist(), start=first)
    except UnicodeDecodeError:
        for number in range(len(batch)):
            try:
                yield first + number, batch.slice(number, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                bad(f"{name}, row {first + number}", f"not UTF-8 ({error.reason} at byte {error.start} of a field)")


def first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0].rstrip(".")
