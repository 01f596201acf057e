"""What the builders of one's own rows share: parts of a data set, one way to take bad rows, and what must hold of all; and files
for each part.

Files of rows stand for the training part and, where there are some, for validation and test; a part without files is taken out of
the training rows (`septet.data.divide`). What cannot be used is named with file and row, and the builder stops with all of it
counted, or leaves it out where `on_bad` says so. Rows are held in memory.

What it is not: a format. Those are the kinds in `septet.data.builders`.

    python -m pytest tests/data/test_parts.py
"""

from __future__ import annotations

import random
import zipfile
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, field_validator

from septet.core.component import InputPath
from septet.core.errors import DataError, nearest
from septet.data.builder import Builder, Built, Row
from septet.data.divide import Division, Found, divide
from septet.data.documents import Document, JsonValue
from septet.data.examples import labels_of
from septet.data.files import Encoding, File, Pattern, decode, decode_line, lines, not_text, readable_as
from septet.data.source import Bad
from septet.data.sources.text import Text
from septet.data.special import without_reserved

__all__ = [
    "Gathered",
    "PartsBuilder",
    "Paths",
    "Problems",
    "RowsBuilder",
    "files_of",
    "text_lines",
    "told",
    "whole_text",
]

Paths = Annotated[
    tuple[InputPath, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str | Path) else value)
]
"""One file or several."""
SHOWN = 10  # of the rows that cannot be used
PARTS = {"train": "training", "validation": "validation", "test": "test"}


class Problems:
    """What cannot be used, by place; called like any `Bad`."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.files: dict[str, File] = {}

    def __call__(self, place: str, reason: str) -> None:
        self.found.append((place, reason))

    def settle(self, *, drop: bool) -> None:
        """Errors: DataError with the first places and how many there are, unless they may be dropped."""
        if drop or not self.found:
            return
        many = f"{len(self.found):,} places cannot" if len(self.found) > 1 else "One place cannot"
        shown = "".join(f"\n  {line}" for line in self.shown())
        raise DataError(
            f"{many} be used:{shown}{self._hint()}\nPut them right, or leave them out and go on with on_bad: drop."
        )

    def shown(self) -> list[str]:
        """The first places, one a line, and how many more there are; a reason that was just given is not said again."""
        first = self.found[:SHOWN]
        before = [None, *(reason for _, reason in first)]
        told = [
            f"{place}: {'the same' if reason == last else reason}"
            for (place, reason), last in zip(first, before, strict=False)
        ]
        more = len(self.found) - SHOWN
        return [*told, *([f"and {more:,} more"] if more > 0 else [])]

    def _hint(self) -> str:
        """Which encodings would read the first file that is not UTF-8."""
        place = next((place for place, reason in self.found if reason.startswith("not UTF-8")), None)
        file = next((file for name, file in self.files.items() if place and place.startswith(name)), None)
        names = readable_as(_bytes(file)) if file else []
        if not names:
            return ""
        return f"\nAll bytes of the file are text as {', '.join(names)}; say which with encoding: {names[0]}."


def _bytes(file: File) -> bytes:
    """All bytes of a file, of an archive too that was closed since; none where they cannot be read."""
    with ExitStack() as stack:
        if file.archive is not None:
            file = replace(file, archive=stack.enter_context(zipfile.ZipFile(file.path)))
        return file.whole(lambda place, reason: None) or b""


@dataclass(slots=True)
class Gathered:
    """What a builder found: the task, the rows of each part that has files, and what is worth telling."""

    task: str
    rows: dict[str, list[Found]]
    columns: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class RowsBuilder(Builder):
    """A builder that reads rows of one's own, a part of the data set each."""

    reads_corpus: ClassVar[bool] = False

    split: Division = Division()
    """What is taken out of the training rows for a part that is not given."""
    on_bad: Literal["refuse", "drop"] = "refuse"
    """What happens to rows that cannot be used: stop and name them, or name them and go on without."""

    @abstractmethod
    def given(self) -> Mapping[str, tuple[str, ...]]:
        """Return the parts that are given, the training part among them, each with the places where its rows are."""

    @abstractmethod
    def gather(self, parts: Mapping[str, tuple[str, ...]], problems: Problems) -> Gathered:
        """Read the rows of each part in their order. What cannot be used goes to `problems`."""

    def build(self, train: Sequence[Document], held_out: Sequence[Document], *, seed: int) -> Built:
        """The rows; those to train on in an order that the seed chooses. Errors: DataError for rows that cannot be used."""
        problems = Problems()
        given = self.given()
        try:
            gathered = self.gather(given, problems)
        except OSError as error:
            raise DataError(f"It cannot be read ({error.strerror or error}).", file=error.filename) from None
        drop = self.on_bad == "drop"
        cleaned = 0
        for part, rows in gathered.rows.items():
            kept = [_cleaned(item, problems) for item in rows]
            cleaned += sum(new is not None and new is not old for new, old in zip(kept, rows, strict=True))
            gathered.rows[part] = [item for item in kept if item is not None]
        problems.settle(drop=drop)
        for part in given:
            if not gathered.rows.get(part):
                raise DataError(f"No row of the {PARTS[part]} part can be used.", file=given[part][0])
        parts, remarks = self._parts(gathered.rows, seed)
        labels = _check_labels(parts, gathered.task, problems)
        problems.settle(drop=drop)
        remarks = [*gathered.remarks, *remarks]
        if problems.found:
            remarks += [f"Left out: {line}" for line in problems.shown()]
        made = {part: [item.row for item in rows] for part, rows in parts.items()}
        for part in ("train", "validation"):  # a limit takes the first rows, which may all be of one label in the file
            random.Random(f"{seed}/{part}").shuffle(made[part])
        notes = {**gathered.notes, "rows_left_out": len(problems.found), "rows_with_reserved_tokens": cleaned}
        return Built(
            made["train"], made["validation"], test=made["test"], task=gathered.task, labels=labels,
            columns=gathered.columns, remarks=remarks, notes={name: count for name, count in notes.items() if count},
        )  # fmt: skip

    def _parts(self, rows: dict[str, list[Found]], seed: int) -> tuple[dict[str, list[Found]], list[str]]:
        shares = {part: getattr(self.split, part) for part in ("validation", "test") if part not in rows}
        if not any(shares.values()):
            return {part: rows.get(part, []) for part in PARTS}, []
        how = self.split.model_copy(update={**dict.fromkeys(("validation", "test"), 0.0), **shares})
        parts, by = divide(rows["train"], how, seed=seed)
        taken = ", ".join(f"{len(parts[part]):,} {PARTS[part]} rows" for part, share in shares.items() if share)
        remark = f"Taken out of the training rows, by {by}: {taken}; {len(parts['train']):,} rows are left to train on."
        return {part: rows[part] if part in rows and part != "train" else parts[part] for part in PARTS}, [remark]


class PartsBuilder(RowsBuilder):
    """A builder that reads files, for each part its own."""

    train: Paths
    """The file or files with the rows to train on; a folder or a .zip stands for the files in it."""
    validation: Paths = ()
    """The files with the rows that choices are made on; none: `split` takes some of the training rows."""
    test: Paths = ()
    """The files with the rows that are looked at once, at the end; none: `split` may take some of the training rows."""
    encoding: Encoding = "utf-8"
    """What the text is where it has no byte-order mark and is not UTF-8."""

    @field_validator("train")
    @classmethod
    def _not_none(cls, value: Paths) -> Paths:
        if not value:
            raise ValueError("one file or more to train on is expected.")
        return value

    def given(self) -> Mapping[str, Paths]:
        return {name: getattr(self, name) for name in PARTS if getattr(self, name)}


def files_of(paths: Paths, problems: Problems, pattern: Pattern = "**/*") -> Iterator[File]:
    """Yield the files of a part; those below a folder or in an archive that match `pattern`, in the order of their names."""
    for path in paths:
        for file in Text(path=path, pattern=pattern).files(problems):
            problems.files[file.name] = file
            yield file


def text_lines(file: File, bad: Bad, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of every line, blank ones too. What is no text in the encoding goes to `bad`."""
    for number, offset, raw in lines(file, bad, encoding=encoding):
        text = decode_line(raw, encoding)
        if text is None:
            bad(file.place(number, offset), not_text(raw, encoding))
        else:
            yield number, text


def whole_text(file: File, bad: Bad, encoding: str) -> str | None:
    """The text of a file; None after `bad`."""
    raw = file.whole(bad)
    text = None if raw is None else decode(raw, encoding)
    if raw is not None and text is None:
        bad(file.name, not_text(raw, encoding))
    return text


def told(task: str, columns: Mapping[str, tuple[str, ...]]) -> str:
    """A line for people: the task, and the columns of each role."""
    return (
        f"The rows are for {task}: "
        + ", ".join(f"{role} is {' + '.join(names)}" for role, names in columns.items())
        + "."
    )


def _cleaned(item: Found, bad: Bad) -> Found | None:
    """The row without reserved tokens; None, after `bad`, where taking them out would move what is counted in characters."""
    row: Row = _without(item.row)
    if row == item.row:
        return item
    if "answers" in row or "words" in row:
        bad(
            item.place, "it holds a reserved token such as <|endoftext|>, which cannot stand in text that is trained on"
        )
        return None
    if any(isinstance(value, str) and not value.strip() and item.row[name] for name, value in row.items()):
        bad(item.place, "nothing is left of a text without its reserved tokens")
        return None
    return replace(item, row=row)


def _without(value: JsonValue) -> Any:
    if isinstance(value, str):
        return without_reserved(value) if "<|" in value else value
    if isinstance(value, list):
        return [_without(item) for item in value]
    return {key: _without(item) for key, item in value.items()} if isinstance(value, dict) else value


def _check_labels(parts: dict[str, list[Found]], task: str, problems: Problems) -> list[str] | None:
    """The labels of the training rows, in order; rows of other parts with one that is not among them go to `problems`.

    Errors: DataError where there is nothing to tell apart.
    """
    if task not in ("classification", "multi-label", "tagging"):
        return None
    often = Counter(label for item in parts["train"] for label in labels_of(item.row))
    if task == "classification" and len(often) < 2:
        raise DataError(
            f"All {len(parts['train']):,} training rows have the label {next(iter(often))!r}; two are expected."
        )
    if not often:
        raise DataError(f"None of the {len(parts['train']):,} training rows has a label; nothing can be learned.")
    for part in ("validation", "test"):
        kept = []
        for item in parts[part]:
            strange = next((label for label in labels_of(item.row) if label not in often), None)
            if strange is None:
                kept.append(item)
            else:
                # a hint compares with every label, so only what is shown gets one
                hint = nearest(strange, often) if len(problems.found) < SHOWN else ""
                problems(item.place, f"no training row has the label {strange!r}.{hint}")
        parts[part] = kept
    whole = all(label.lstrip("-").isdecimal() for label in often)
    ordered = sorted(often, key=lambda label: (int(label), label)) if whole else sorted(often)
    return ordered if task != "tagging" else ["O", *(f"{begin}-{label}" for label in ordered for begin in "BI")]
