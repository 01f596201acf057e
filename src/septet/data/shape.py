"""From rows with columns to rows of a task: what may stand in the column of each role.

Which column has which role is told by `septet.data.roles`. It reads no files.

    python -m pytest tests/data/test_own_builders.py
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from septet.core.errors import DataError, nearest
from septet.data.answers import answers_in
from septet.data.builder import Row
from septet.data.divide import Found
from septet.data.documents import JsonValue
from septet.data.examples import labels_of
from septet.data.messages import messages_of
from septet.data.roles import OPTIONAL, REQUIRED, ROLES, Values, at, finite, split_words
from septet.data.source import Bad
from septet.data.tags import cannot_stand, no_tag, scheme_of, to_bio

__all__ = ["Columns", "LabelNames", "Shape", "Unfit", "check_names", "scheme_in", "shaped"]

AS_THEY_ARE = ("target", "labels", "words", "tags", "question", "context", "answers")  # roles with ways of their own


def _columns(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for role in value:
        if role not in ROLES:
            raise ValueError(f"there is no role {role!r}.{nearest(str(role), ROLES)}")
    return {role: (name,) if isinstance(name, str) else name for role, name in value.items()}


Columns = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_columns)]
"""Role -> the column, or several columns, that it is read from."""


def _written(value: Any) -> Any:
    """Keys as they stand in files: YAML reads {0: bad} as a number."""
    return (
        {str(key) if type(key) is int else key: name for key, name in value.items()}
        if isinstance(value, Mapping)
        else value
    )


LabelNames = Annotated[dict[str, str], BeforeValidator(_written)]
"""Value as it stands in a file -> label."""


class Unfit(ValueError):
    """What is wrong with a row, in words for people."""


@dataclass(frozen=True)
class Shape:
    """A task, and the columns of each role; several columns of a text are joined, several of `labels` are yes or no each.

    names: value -> label or tag. separator: between the labels of one field. opened: gives the text that a field names, or None.
    scheme: of tags. repair: whether tags that cannot stand where they stand are read as the beginning of an entity. notes: what was
    put right, by name.
    """

    task: str
    columns: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str] = field(default_factory=dict)
    separator: str = ","
    opened: Callable[[str], str | None] = lambda value: None
    scheme: str = "bio"
    repair: bool = False
    notes: Counter[str] = field(default_factory=Counter)

    def row(self, values: Values) -> Row:
        """The row of a task. Errors: Unfit for a field that is missing, is empty, or holds something else."""
        if self.task == "chat":
            try:
                made: Row = {"messages": messages_of(None, 0, values)}
            except DataError as error:
                raise Unfit(str(error)) from None
        else:
            made = {role: self._value(role, values) for role in REQUIRED[self.task] if role not in AS_THEY_ARE}
            if self.task == "multi-label":
                made["labels"] = self._labels(values)
            if self.task == "tagging":
                made.update(self._tagged(values))
            if self.task == "question-answering":
                made.update(self._answered(values))
            if self.task == "text-to-text":
                made.update(self._targets(values))
            for role in OPTIONAL.get(self.task, ()):
                if role in self.columns and role not in ("references", "start"):
                    made[role] = self._text(role, values, may_be_empty=role == "prompt")
            if self.task == "completion":
                made = {"prompt": made.get("prompt", ""), "completion": made["completion"]}
        for role in ("id", "group"):
            if role in self.columns:
                made[role] = self._name(role, values)
        return made

    def when(self, values: Values) -> float | None:
        """The time of a row: a number as it is, else seconds since 1970 of a date (ISO 8601); None where none was asked for."""
        if "time" not in self.columns:
            return None
        said = self._name("time", values)
        try:
            number = float(said)
            if math.isfinite(number):
                return number
        except ValueError:
            pass
        try:
            date = datetime.fromisoformat(said)
        except ValueError:
            column = self.columns["time"][0]
            raise Unfit(f"{column!r} holds {said!r}; a date such as 2026-01-31 or a number is expected.") from None
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()

    def _value(self, role: str, values: Values) -> JsonValue:
        if role == "label":
            return self._label(self._name(role, values))
        return self._number(values) if role == "value" else self._text(role, values)

    def _label(self, value: str) -> str:
        return self.names.get(value, value)

    def _text(self, role: str, values: Values, *, may_be_empty: bool = False) -> str:
        return "\n".join(self._one(column, values, may_be_empty=may_be_empty) for column in self.columns[role])

    def _one(self, column: str, values: Values, *, may_be_empty: bool = False) -> str:
        value = _field(column, values)
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = " ".join(value)  # sentences
        if value is None and may_be_empty:
            return ""
        if not isinstance(value, str):
            raise Unfit(f"The field {column!r} holds {_kind(value)}; text is expected.")
        if not value.strip() and not may_be_empty:
            raise Unfit(f"The field {column!r} is empty; text is expected.")
        opened = self.opened(value)
        return value if opened is None else opened

    def _name(self, role: str, values: Values) -> str:
        column = self.columns[role][0]
        value = _field(column, values)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, str | int | float) or value == "" or (isinstance(value, str) and not value.strip()):
            what = "is empty" if isinstance(value, str) or value is None else f"holds {_kind(value)}"
            raise Unfit(f"The field {column!r} {what}; a text or a number is expected.")
        return str(value).strip()

    def _number(self, values: Values) -> float:
        column = self.columns["value"][0]
        value = _field(column, values)
        number = finite(value)
        if number is None:
            raise Unfit(f"The field {column!r} holds {value!r}; a finite number is expected.")
        return number

    def _labels(self, values: Values) -> list[str]:
        column, *more = self.columns["labels"]
        if more:
            return sorted(self._label(name) for name in (column, *more) if _yes(name, _field(name, values)))
        value = _field(column, values)
        if value is None or isinstance(value, str):
            value = [part.strip() for part in (value or "").split(self.separator)]
        if not isinstance(value, list) or not all(isinstance(part, str | int) for part in value):
            raise Unfit(f"The field {column!r} holds {_kind(value)}; a list of labels is expected.")
        return sorted({self._label(str(part)) for part in value if str(part)})

    def tags(self, values: Values) -> list[str]:
        """The tags of a row as they stand, numbers by their names. Errors: Unfit."""
        column = self.columns["tags"][0]
        found = [self._label(str(tag)) for tag in split_words(_field(column, values))]
        if any(tag.isdecimal() for tag in found):
            raise Unfit(f"The field {column!r} holds numbers without names; say label_names: {{0: O, 1: B-PER, ...}}.")
        problem = next(filter(None, map(no_tag, found)), "")
        if problem:
            raise Unfit(f"In the field {column!r} {problem}.")
        return found

    def _tagged(self, values: Values) -> Row:
        """Words and their tags in BIO."""
        column = self.columns["words"][0]
        words, tags = split_words(_field(column, values)), self.tags(values)
        if not words or not all(isinstance(word, str) and word.strip() for word in words):
            raise Unfit(f"The field {column!r} has no words, or empty ones; a list of words is expected.")
        if len(words) != len(tags):
            raise Unfit(f"There are {len(words)} words and {len(tags)} tags; a tag for each word is expected.")
        found, wrong = to_bio(tags, self.scheme)
        if wrong and not self.repair:
            raise Unfit(cannot_stand(tags, wrong[0], self.scheme))
        self.notes["tags_repaired"] += len(wrong)
        return {"words": words, "tags": found}

    def _answered(self, values: Values) -> Row:
        """A question, its passage, and the answers where they stand in it; without a group the passage is one."""
        question, context = self._text("question", values), self._text("context", values)
        given = _field(self.columns["answers"][0], values)
        if "start" in self.columns and isinstance(given, str):
            start = _field(self.columns["start"][0], values)
            number = finite(start)  # CSV has texts, and a column with gaps has floats
            if number is not None and number.is_integer():
                start = int(number)
            given = [{"text": given, "answer_start": start}]
        answers, moved, reason = answers_in(given, context)
        if reason:
            raise Unfit(reason)
        self.notes["answers_put_right"] += moved
        self.notes["questions_without_an_answer"] += not answers
        row: Row = {"question": question, "context": context, "answers": answers}
        return row if "group" in self.columns else {**row, "group": hashlib.sha256(context.encode()).hexdigest()[:16]}

    def _targets(self, values: Values) -> Row:
        """The target, and where several are right all of them: a list, `references`, or numbered columns (summary1, summary2)."""
        column = self.columns["target"][0]
        several: list[str] = []
        try:
            value = at(column, values)
        except LookupError:
            numbered = [name for name in values if re.fullmatch(re.escape(column) + r"[-_ ]?\d+", str(name))]
            several = [self._one(name, values) for name in sorted(numbered, key=lambda name: (len(name), name))]
        else:
            several = [self._one(column, {column: part}) for part in value] if isinstance(value, list) else []
        if not several:
            several = [self._text("target", values)]
        for name in self.columns.get("references", ()):
            more = _field(name, values)
            several += [self._one(name, {name: part}) for part in (more if isinstance(more, list) else [more])]
        several = list(dict.fromkeys(several))
        return {"target": several[0], **({"references": several} if len(several) > 1 else {})}


def shaped(shape: Shape, rows: Iterable[tuple[str, Values]], bad: Bad) -> list[Found]:
    """Return the rows of the task, from (place, fields); those that do not fit go to `bad`."""
    found = []
    for number, (place, values) in enumerate(rows, start=1):
        try:
            row = shape.row(values)
            if shape.task == "question-answering":  # its scorer tells questions apart by their ids
                row.setdefault("id", str(number))
            found.append(Found(row, place, shape.when(values)))
        except Unfit as error:
            bad(place, str(error))
    return found


def scheme_in(shape: Shape, rows: Iterable[Values]) -> str:
    """Return the scheme in which the tags of rows are written; rows that do not fit say nothing."""

    def tags() -> Iterator[list[str]]:
        for values in rows:
            with suppress(Unfit):
                yield shape.tags(values)

    return scheme_of(tags())


def check_names(names: Mapping[str, str], rows: Iterable[Found], file: object) -> None:
    """Errors: DataError where `label_names` names a value that no row has."""
    given = {label for item in rows for label in labels_of(item.row)}
    unused = [value for value, name in names.items() if name not in given]
    if unused:
        left = sorted(given - set(names.values()))
        raise DataError(
            f"label_names has {unused[0]!r}, which is the label of no row.{nearest(unused[0], left)}", file=file
        )


def _field(column: str, values: Values) -> JsonValue:
    try:
        return at(column, values)
    except LookupError:
        near = nearest(column, [str(name) for name in values])
        raise Unfit(f"The field {column!r} is missing.{near}") from None


def _yes(column: str, value: JsonValue) -> bool:
    if value in (True, 1, "1", "1.0", "true", "True", "yes"):
        return True
    if value in (False, 0, "0", "0.0", "false", "False", "no", ""):
        return False
    raise Unfit(f"The field {column!r} holds {value!r}; 0 or 1 is expected of each of several columns of labels.")


def _kind(value: JsonValue) -> str:
    return "nothing" if value is None else type(value).__name__
