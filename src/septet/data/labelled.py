"""Labelled texts: rows of a text and a label, from csv, tsv, JSON lines, or lines that begin with the label.

It does not choose what is trained on; see the step `classifier`.

    python -c "from septet.data.labelled import read_labelled; print(read_labelled('rows.csv')[0])"
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from septet.core.errors import DataError, nearest
from septet.data.documents import JsonValue, read_rows

__all__ = ["Format", "Labelled", "hash_text", "is_held_out", "read_labelled", "read_text"]

Format = Literal["auto", "csv", "tsv", "jsonl", "label-first"]
ENDINGS: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".json": "jsonl"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its label."""

    text: str
    label: str


def read_labelled(
    path: str | Path, *, format: Format = "auto", text_field: str = "text", label_field: str = "label"
) -> list[Labelled]:
    """The rows of a file, plain or .gz, in order. Rows without text are left out.

    auto goes by the ending. label-first: each line is a label, white space and the text, without a header.
    Errors: DataError with file and row for a column that is not there, a text that is not UTF-8, a line without a label.
    """
    path = Path(path)
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if format == "auto":
        if suffix not in ENDINGS:
            raise DataError(
                f"The ending {suffix!r} does not say what the file is; set 'format' to csv, tsv, jsonl or label-first.",
                file=path,
            )
        format = ENDINGS[suffix]
    if format == "label-first":
        return list(_label_first(path))
    rows = read_rows(path) if format == "jsonl" else _table(path, "," if format == "csv" else "\t")
    found = []
    for number, row in rows:
        for name in (text_field, label_field):
            if row.get(name) is None:
                raise DataError(f"There is no field {name!r}.{nearest(name, map(str, row))}", file=path, row=number)
        text, label = row[text_field], row[label_field]
        if not isinstance(text, str) or not isinstance(label, str | int | float):
            raise DataError(
                f"{text_field!r} must be a text and {label_field!r} a text or a number.", file=path, row=number
            )
        if text.strip():
            found.append(Labelled(text, str(label)))
    return found


def _table(path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """(row number from 1, row) below the header."""
    csv.field_size_limit(1 << 30)  # the default of 128 KB is shorter than some web pages
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        for number, row in enumerate(reader, start=1):
            yield number, {key: value for key, value in row.items() if key is not None}
    except csv.Error as error:
        raise DataError(f"The table is damaged at line {reader.line_num}: {error}.", file=path) from None


def _label_first(path: Path) -> Iterator[Labelled]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            label, *rest = line.split(None, 1)
            if not rest:
                raise DataError("The line has no text after its label.", file=path, row=number)
            yield Labelled(rest[0].strip(), label)


def read_text(path: Path) -> str:
    """The text of a file, plain or .gz. Errors: DataError for text that is not UTF-8, and for a damaged .gz."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"The text is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8.", file=path
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"The compressed file is damaged ({error}); a complete gzip file is expected.", file=path
        ) from None


def hash_text(text: str, seed: int) -> bytes:
    """A hash that decides where a text falls, the same on every machine."""
    return hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()


def is_held_out(text: str, *, share: float, seed: int) -> bool:
    """Whether a text belongs to the share that is only measured on; equal texts always fall on one side."""
    return int.from_bytes(hash_text(text, seed)[:8], "big") < share * (1 << 64)
