"""A document, the unit of everything that is read, filtered, trained on, indexed and cited; and its file, JSON lines.

It is not a data set of token ids: see `packing` and `batches`.

    python -c "from septet.data.documents import read_documents; print(next(read_documents('train.jsonl')))"
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from septet.core.errors import DataError

__all__ = [
    "Document",
    "JsonValue",
    "document_of",
    "document_row",
    "json_line",
    "read_documents",
    "read_rows",
    "write_documents",
    "write_rows",
]

JsonValue = Any  # str | int | float | bool | None | list | dict: what JSON holds


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its origin.

    group: the unit that a held-out split keeps together (the top-level module). source: which of several sources it came from.
    licence: as the origin states it (an SPDX name where there is one), "" where nothing is known. language: an ISO 639-1 code.
    """

    id: str
    text: str
    name: str = ""
    group: str = ""
    file: str = ""
    line: int = 0
    aliases: tuple[str, ...] = ()
    public: bool = True
    source: str = ""
    licence: str = ""
    language: str = ""
    meta: dict[str, JsonValue] = field(default_factory=dict)

    def with_text(self, change: Callable[[str], str]) -> Document:
        """A copy in which every text that training may see is changed: `text`, and "doc" and "signature" of `meta`."""
        meta = {key: change(value) if key in ("doc", "signature") else value for key, value in self.meta.items()}
        return replace(self, text=change(self.text), meta=meta)


_STRINGS = ("id", "text", "name", "group", "file", "source", "licence", "language")
_TYPES = {**dict.fromkeys(_STRINGS, str), "line": int, "public": bool, "meta": dict}
_FIELDS = frozenset(item.name for item in fields(Document))


def write_rows(path: str | os.PathLike[str], rows: Iterable[dict[str, JsonValue]]) -> int:
    """Writes JSON lines beside `path`, then renames: a reader sees the whole file or none. Returns the number of rows."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json_line(row))
                count += 1
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def json_line(row: dict[str, JsonValue]) -> str:
    """One line of JSON lines, with its newline."""
    # lone surrogates cannot be written as UTF-8; \\u escapes can
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(row, ensure_ascii=True)
    return line + "\n"


def read_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """(row number from 1, row) of JSON lines, or of one JSON list of objects; a name ending in .gz is unpacked.

    Errors: DataError with file and row for text that is not UTF-8, not JSON, or not an object; for a damaged .gz.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            first = next((line for line in file if line.strip()), b"")
            file.seek(0)
            if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
                yield from _list_rows(path, file.read())
            else:
                yield from _line_rows(path, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"The compressed file is damaged ({error}); a complete gzip file is expected.", file=path
        ) from None


def _list_rows(path: Path, raw: bytes) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    try:
        rows = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"The text is not UTF-8 ({error.reason} at byte {error.start}).", file=path) from None
    except json.JSONDecodeError as error:
        message = (
            f"The file is not JSON ({error.msg}, line {error.lineno}). A list of objects or JSON lines is expected."
        )
        raise DataError(message, file=path) from None
    for number, row in enumerate(rows, start=1):
        yield number, _object(path, number, row)


def _line_rows(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            if line.strip():
                yield number, _object(path, number, json.loads(line))
        except UnicodeDecodeError as error:
            message = (
                f"The text is not UTF-8 ({error.reason} at byte {error.start} of the row); save the file as UTF-8."
            )
            raise DataError(message, file=path, row=number) from None
        except json.JSONDecodeError as error:
            message = f"The line is not JSON ({error.msg}, column {error.colno}). One JSON object a line is expected."
            raise DataError(message, file=path, row=number) from None


def _object(path: Path, number: int, row: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(row, dict):
        message = f'The row is a JSON {type(row).__name__}; an object such as {{"text": "..."}} is expected.'
        raise DataError(message, file=path, row=number)
    return row


def write_documents(path: str | os.PathLike[str], docs: Iterable[Document]) -> int:
    """Writes one document a line, atomically. Fields at their default stay out. Returns how many were written."""
    return write_rows(path, (document_row(doc) for doc in docs))


def document_row(doc: Document) -> dict[str, JsonValue]:
    """The document as JSON values; fields at their default stay out."""
    row: dict[str, JsonValue] = {"id": doc.id, "text": doc.text}
    for name in ("name", "group", "file", "line", "aliases", "source", "licence", "language", "meta"):
        value = getattr(doc, name)
        if value:
            row[name] = value
    return row if doc.public else {**row, "public": False}


def document_of(row: dict[str, JsonValue]) -> Document:
    """The document of a row that Septet itself wrote: no checks."""
    return Document(**{**row, "aliases": tuple(row.get("aliases", ()))})


def read_documents(path: str | os.PathLike[str]) -> Iterator[Document]:
    """The documents of a file, in order. Errors: DataError naming file, row and field for a broken row."""
    for number, row in read_rows(path):
        unknown = sorted(set(row) - _FIELDS)
        missing = [name for name in ("id", "text") if name not in row]
        if unknown or missing:
            what = f"misses {missing}" if missing else f"has the unknown fields {unknown}"
            message = f"The document {what}. Expected: id and text, and any of {sorted(_FIELDS - {'id', 'text'})}."
            raise DataError(message, file=path, row=number)
        for name, kind in _TYPES.items():
            if name in row and (not isinstance(row[name], kind) or (kind is int and isinstance(row[name], bool))):
                message = f"The field {name!r} holds {type(row[name]).__name__}; {kind.__name__} is expected."
                raise DataError(message, file=path, row=number)
        aliases = row.get("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise DataError("The field 'aliases' must be a list of strings.", file=path, row=number)
        known: dict[str, Any] = {**row, "aliases": tuple(aliases)}
        yield Document(**known)
