"""A document, the unit of everything that is read, filtered, trained on, indexed and cited; and its file, JSON lines.

It is not a data set of token ids: see `packing` and `batches`.

    python -c "from septet.data.documents import read_documents; print(next(read_documents('train.jsonl')))"
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from septet.core.errors import DataError

__all__ = ["Document", "JsonValue", "read_documents", "read_rows", "write_documents", "write_rows"]

JsonValue = Any  # str | int | float | bool | None | list | dict: what JSON holds


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its origin. `group` is the unit that a held-out split keeps together (the top-level module)."""

    id: str
    text: str
    name: str = ""
    group: str = ""
    file: str = ""
    line: int = 0
    aliases: tuple[str, ...] = ()
    public: bool = True
    meta: dict[str, JsonValue] = field(default_factory=dict)

    def with_text(self, text: str) -> Document:
        return replace(self, text=text)


_TYPES = {"id": str, "text": str, "name": str, "group": str, "file": str, "line": int, "public": bool, "meta": dict}
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
                # Lone surrogates cannot be written as UTF-8; \\u escapes can.
                line = json.dumps(row, ensure_ascii=False)
                try:
                    line.encode("utf-8")
                except UnicodeEncodeError:
                    line = json.dumps(row, ensure_ascii=True)
                file.write(line + "\n")
                count += 1
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def read_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """(row number from 1, row). Errors: DataError with file and row for text that is not a JSON object."""
    with open(path, encoding="utf-8", errors="strict") as file:
        number = 0
        lines = iter(file)
        while True:
            number += 1
            try:
                line = next(lines)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                raise DataError(f"The text is not UTF-8: {error}.", file=str(path), row=number) from error
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                message = f"The line is not JSON ({error.msg}, column {error.colno}). One JSON object a line is expected."
                raise DataError(message, file=str(path), row=number) from error
            if not isinstance(row, dict):
                message = f"The line holds a JSON {type(row).__name__}; an object {{...}} is expected."
                raise DataError(message, file=str(path), row=number)
            yield number, row


def write_documents(path: str | os.PathLike[str], docs: Iterable[Document]) -> int:
    """Writes one document a line, atomically. Fields at their default stay out. Returns how many were written."""
    return write_rows(path, (_row(doc) for doc in docs))


def _row(doc: Document) -> dict[str, JsonValue]:
    row = asdict(doc)
    return {key: value for key, value in row.items() if key in ("id", "text") or value not in ("", 0, (), {}, True)} | (
        {} if doc.public else {"public": False}
    )


def read_documents(path: str | os.PathLike[str]) -> Iterator[Document]:
    """The documents of a file, in order. Errors: DataError naming file, row and field for a broken row."""
    for number, row in read_rows(path):
        unknown = sorted(set(row) - _FIELDS)
        missing = [name for name in ("id", "text") if name not in row]
        if unknown or missing:
            what = f"misses {missing}" if missing else f"has the unknown fields {unknown}"
            message = f"The document {what}. Expected: id and text, and any of {sorted(_FIELDS - {'id', 'text'})}."
            raise DataError(message, file=str(path), row=number)
        for name, kind in _TYPES.items():
            if name in row and (not isinstance(row[name], kind) or (kind is int and isinstance(row[name], bool))):
                message = f"The field {name!r} holds {type(row[name]).__name__}; {kind.__name__} is expected."
                raise DataError(message, file=str(path), row=number)
        aliases = row.get("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise DataError("The field 'aliases' must be a list of strings.", file=str(path), row=number)
        yield Document(**(row | {"aliases": tuple(aliases)}))
