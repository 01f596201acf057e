"""One's own rows: JSON lines (or one JSON list), plain or .gz, one document a row.

A folder is read file by file, in the order of the names. Rows are not questions and answers: for those see the dataset
builder of the same name.

    septet corpus --source '{kind: jsonl, path: rows.jsonl.gz, text_field: body}'
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from septet.core.component import InputPath, hash_path
from septet.core.errors import DataError, nearest
from septet.data.documents import Document, JsonValue, read_rows
from septet.data.source import Bad, Source, stop

__all__ = ["Jsonl"]


class Jsonl(Source):
    """Documents from rows of JSON."""

    path: InputPath
    """A file, or a folder whose files match `pattern`."""
    pattern: str = "*.jsonl*"
    """Which files of a folder are read."""
    text_field: str = "text"
    """The field that holds the text."""
    id_field: str | None = None
    """The field that holds a unique id; without it, file name and row number."""
    name_field: str | None = None
    """The field that holds the name shown to users; without it, the id."""
    group_field: str | None = None
    """The field whose value keeps documents together in a held-out split."""

    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """One document a row. Errors: DataError with file and row for a missing field, a wrong type, a repeated id."""
        seen: dict[str, str] = {}
        for file in self._files():
            number = 0
            for number, row in read_rows(file):
                place = f"{file.name}, row {number}"
                doc_id = self._value(file, number, row, self.id_field) or f"{file.name}:{number}"
                if doc_id in seen:
                    message = f"The id {doc_id!r} was already used in {seen[doc_id]}; ids must be unique."
                    raise DataError(message, file=file, row=number)
                seen[doc_id] = place
                yield Document(
                    id=doc_id, text=self._text(file, number, row), group=self._value(file, number, row, self.group_field),
                    name=self._value(file, number, row, self.name_field) or doc_id, file=file.name, line=number,
                )  # fmt: skip
            if number == 0:
                raise DataError("The file holds no rows; one JSON object a line is expected.", file=file)

    def fingerprint(self) -> str:
        """Hash of the names and bytes of the files read."""
        parts = [f"{file.name}\0{hash_path(file)}" for file in self._files()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def identity(self, ids: Mapping[str, str] | None = None) -> dict[str, Any]:
        """As for any component, without the hash of the folder: the fingerprint covers the files that are read."""
        return {key: value for key, value in super().identity(ids).items() if key != "path"}

    def _files(self) -> list[Path]:
        path = Path(self.path)
        if path.is_file():
            return [path]
        found = sorted(file for file in path.glob(self.pattern) if file.is_file() and not file.name.startswith("."))
        if not found:
            raise DataError(
                f"No file of the folder matches {self.pattern!r}; give the pattern of your files.", file=path
            )
        return found

    def _text(self, file: Path, number: int, row: dict[str, JsonValue]) -> str:
        value = row.get(self.text_field)
        if self.text_field not in row:
            message = f"The field {self.text_field!r} is missing; say where the text is with text_field."
            raise DataError(message + nearest(self.text_field, row), file=file, row=number)
        if not isinstance(value, str):
            message = f"The field {self.text_field!r} holds {type(value).__name__}; a string is expected."
            raise DataError(message, file=file, row=number)
        return value

    def _value(self, file: Path, number: int, row: dict[str, JsonValue], field: str | None) -> str:
        """A field that names something, as text; "" where none was asked for."""
        if field is None:
            return ""
        value = row.get(field)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            what = "is missing or empty" if value in (None, "") else f"holds {type(value).__name__}"
            message = f"The field {field!r} {what}; a string or a number is expected."
            raise DataError(message + (nearest(field, row) if field not in row else ""), file=file, row=number)
        return str(value)
