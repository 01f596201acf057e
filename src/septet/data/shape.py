"""From rows with columns to rows of a task: which column plays which role, and what may stand there.

Roles are the fields of `septet.data.examples`, and `time`. Which column has which role is inferred from the names of the columns
and, where names do not say, from values; what was inferred is told, and can be said instead. It reads no files.

    python -m pytest tests/data/test_shape.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from septet.core.errors import DataError, nearest
from septet.data.builder import Row
from septet.data.divide import Found
from septet.data.documents import JsonValue
from septet.data.examples import labels_of
from septet.data.messages import messages_of
from septet.data.source import Bad

__all__ = [
    "OPTIONAL",
    "REQUIRED",
    "ROLES",
    "Columns",
    "LabelNames",
    "Shape",
    "Task",
    "Unfit",
    "check_names",
    "infer",
    "shaped",
]

Task = Literal["chat", "classification", "multi-label", "regression", "text-to-text", "completion", "similarity"]
Values = Mapping[str, JsonValue]

REQUIRED: dict[str, tuple[str, ...]] = {
    "chat": (),
    "classification": ("text", "label"),
    "multi-label": ("text", "labels"),
    "regression": ("text", "value"),
    "text-to-text": ("source", "target"),
    "similarity": ("anchor", "positive"),
    "completion": ("completion",),
}
"""The columns that a task needs, in the order in which tasks are tried."""
OPTIONAL: dict[str, tuple[str, ...]] = {
    "classification": ("pair",),
    "regression": ("pair",),
    "text-to-text": ("references",),
    "similarity": ("negative",),
    "completion": ("prompt",),
}
ANY = ("id", "group", "time")
ROLES = (
    "text", "pair", "label", "labels", "value", "source", "target", "references", "prompt", "completion", "anchor", "positive",
    "negative", *ANY,
)  # fmt: skip

NAMES: dict[str, tuple[str, ...]] = {
    "text": (
        "text", "sentence", "sentence1", "premise", "text1", "texta", "question1", "review", "reviewtext", "content", "comment",
        "tweet", "sms", "message", "utterance", "body", "document", "question", "query", "headline", "title", "description", "t",
    ),
    "pair": ("pair", "sentence2", "hypothesis", "text2", "textb", "question2", "h"),
    "label": (
        "label", "labelname", "labeltext", "goldlabel", "class", "category", "sentiment", "intent", "topic", "entailment",
        "isduplicate", "polarity", "emotion", "type", "toxic", "toxicity", "spam", "hate", "target",
    ),
    "labels": ("labels", "categories", "genres", "topics", "emotions", "tags"),
    "value": ("value", "score", "rating", "similarity", "stars", "relatednessscore"),
    "source": ("source", "src", "article", "dialogue", "dialog", "transcript", "document", "passage", "input", "abstract"),
    "target": ("target", "tgt", "summary", "highlights", "tldr", "translation", "output"),
    "references": ("references",),
    "prompt": ("prompt",),
    "completion": ("completion", "response", "continuation", "chosenresponse"),
    "anchor": ("anchor", "query"),
    "positive": ("positive", "pos", "positivepassage"),
    "negative": ("negative", "neg", "hardnegative", "negativepassage"),
    "id": ("id", "idx", "guid", "uid", "fname", "paperid", "pairid", "exampleid"),
}  # fmt: skip
"""How columns of a role are called, the likelier first; in lower case, letters and digits only."""
CHAT = (("messages",), ("conversations",), ("instruction", "output"), ("question", "answer"))
LANGUAGES = frozenset(
    "ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv nl no pl pt ro ru sk sl sr sv sw ta th tr uk ur vi zh"
    .split()
)  # fmt: skip
FEW = 50  # values of a column that is taken for one of labels without being called so


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

    names: value -> label. separator: between the labels of one field. opened: gives the text that a field names, or None.
    """

    task: str
    columns: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str] = field(default_factory=dict)
    separator: str = ","
    opened: Callable[[str], str | None] = lambda value: None

    def row(self, values: Values) -> Row:
        """The row of a task. Errors: Unfit for a field that is missing, is empty, or holds something else."""
        if self.task == "chat":
            try:
                made: Row = {"messages": messages_of(None, 0, values)}
            except DataError as error:
                raise Unfit(str(error)) from None
        else:
            made = {role: self._value(role, values) for role in REQUIRED[self.task] if role not in ("target", "labels")}
            if self.task == "multi-label":
                made["labels"] = self._labels(values)
            if self.task == "text-to-text":
                made.update(self._targets(values))
            for role in OPTIONAL.get(self.task, ()):
                if role in self.columns and role != "references":
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
        number = _float(_field(column, values))
        if number is None:
            raise Unfit(f"The field {column!r} holds {values[column]!r}; a finite number is expected.")
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

    def _targets(self, values: Values) -> Row:
        """The target, and where several are right all of them: a list, `references`, or numbered columns (summary1, summary2)."""
        column = self.columns["target"][0]
        several: list[str] = []
        if column not in values:
            numbered = [name for name in values if re.fullmatch(re.escape(column) + r"[-_ ]?\d+", str(name))]
            several = [self._one(name, values) for name in sorted(numbered, key=lambda name: (len(name), name))]
        elif isinstance(values[column], list):
            several = [self._one(column, {column: part}) for part in values[column]]
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
    for place, values in rows:
        try:
            found.append(Found(shape.row(values), place, shape.when(values)))
        except Unfit as error:
            bad(place, str(error))
    return found


def check_names(names: Mapping[str, str], rows: Iterable[Found], file: object) -> None:
    """Errors: DataError where `label_names` names a value that no row has."""
    given = {label for item in rows for label in labels_of(item.row)}
    unused = [value for value, name in names.items() if name not in given]
    if unused:
        left = sorted(given - set(names.values()))
        raise DataError(
            f"label_names has {unused[0]!r}, which is the label of no row.{nearest(unused[0], left)}", file=file
        )


def infer(
    rows: Sequence[Values], *, task: str | None, columns: Mapping[str, tuple[str, ...]], file: object
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return the task and the columns of its roles, from the rows of the training part and what is known already.

    Errors: DataError where a named column is not there, or where the columns do not say what the rows are for.
    """
    known = list(dict.fromkeys(str(name) for row in rows for name in row))
    for role, names in columns.items():
        for name in names:
            if name not in known:
                raise DataError(f"There is no column {name!r} for the role {role!r}.{nearest(name, known)}", file=file)
    if task is None:
        task = _task_of(rows, known, columns)
    if task is None:
        raise DataError(
            f"The columns {known} do not say what the rows are for. Name them, such as columns: {{text: {known[0]}, label: ...}};"
            f" roles are {', '.join(ROLES)}.{_headless(known)}",
            file=file,
        )
    strange = set(columns) - {*REQUIRED[task], *OPTIONAL.get(task, ()), *ANY}
    if strange:
        fit = ", ".join((*REQUIRED[task], *OPTIONAL.get(task, ()), *ANY))
        raise DataError(f"The task {task!r} has no role {sorted(strange)[0]!r}; its roles are {fit}.", file=file)
    if task == "completion" and not _named("completion", known, columns) and _named("text", known, columns):
        columns = {**columns, "completion": _named("text", known, columns)}
    found = _roles_of(task, rows, known, columns)
    missing = next((role for role in REQUIRED[task] if role not in found), None)
    if missing:
        raise DataError(
            f"No column of {known} looks like the {missing!r} of {task}; name it: columns: {{{missing}: ...}}.{_headless(known)}",
            file=file,
        )
    return task, found


def _task_of(rows: Sequence[Values], known: Sequence[str], columns: Mapping[str, tuple[str, ...]]) -> str | None:
    asked = [name for name in columns if name not in ANY]
    if asked:
        tasks = [task for task in REQUIRED if set(asked) <= {*REQUIRED[task], *OPTIONAL.get(task, ())}]
    else:
        tasks = list(REQUIRED)
        if any(all(name in known for name in form) for form in CHAT):
            return "chat"
    # what is asked for decides: a column of texts stands in many tasks. Names come before values.
    for task in ("similarity", "completion", "text-to-text", "multi-label", "classification", "regression"):
        found = _roles_of(task, rows, known, columns, by_values=False)
        if task in tasks and {*REQUIRED[task], *(("prompt",) if task == "completion" and not asked else ())} <= set(
            found
        ):
            if task == "classification" and "label" not in columns:
                return _kind_of_label(rows, found["label"][0])
            return task
    if "classification" in tasks and {"text", "label"} <= set(_roles_of("classification", rows, known, columns)):
        return "classification"
    only_text = not asked and len([name for name in known if name not in _named("id", known, {})]) == 1
    return "completion" if only_text and _named("text", known, {}) else None


def _roles_of(
    task: str,
    rows: Sequence[Values],
    known: Sequence[str],
    columns: Mapping[str, tuple[str, ...]],
    *,
    by_values: bool = True,
) -> dict[str, tuple[str, ...]]:
    """The columns of the roles of a task that are known or can be told."""
    found = dict(columns)
    for role in (*REQUIRED[task], *OPTIONAL.get(task, ())):
        taken = {name for names in found.values() for name in names}
        named = _named(role, [name for name in known if name not in taken], found)
        if named and (role != "labels" or _is_list(rows, named[0])):
            found[role] = named
    if task == "multi-label" and "labels" not in found:
        named = _named("label", known, {})
        if named and _is_list(rows, named[0]):
            found["labels"] = named
    if task == "text-to-text" and not {"source", "target"} & set(found):
        spoken = [name for name in known if name.lower() in LANGUAGES]
        if len(spoken) == 2:
            found["source"], found["target"] = (spoken[0],), (spoken[1],)
    if task == "regression" and "value" not in found and _named("label", known, {}):
        found["value"] = _named("label", known, {})
    if by_values and task == "classification" and not set(REQUIRED[task]) <= set(found):
        found.update(_by_values(rows, known, found))
    if "id" not in found and _named("id", known, {}):
        name = _named("id", known, {})
        if name[0] not in {column for names in found.values() for column in names}:
            found["id"] = name
    return found


def _named(role: str, known: Sequence[str], columns: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The column of a role by its name, () for none."""
    if role in columns:
        return columns[role]
    bare = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(known)}
    for name in NAMES.get(role, ()):
        if name in bare:
            return (bare[name],)
        if role == "target":  # summary1, summary2, ...: several right answers
            numbered = next((written for plain, written in bare.items() if re.fullmatch(name + "1", plain)), None)
            if numbered:
                return (re.sub(r"[-_ ]?1$", "", numbered),)
    return ()


def _by_values(
    rows: Sequence[Values], known: Sequence[str], found: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Label and text among two columns that are left: few values that come often, and texts that rarely come twice."""
    taken = {name for names in found.values() for name in names} | set(_named("id", known, {}))
    left = [name for name in known if name not in taken and not name.lower().endswith("id")]
    roles = [role for role in ("label", "text") if role not in found]
    if len(left) != len(roles):
        return {}
    distinct = {name: len({str(row.get(name)) for row in rows}) for name in left}
    label = min(left, key=lambda name: distinct[name])
    few = distinct[label] <= min(FEW, max(2, len(rows) // 2))
    if roles == ["text"]:
        return {"text": (left[0],)} if any(_float(row.get(left[0])) is None for row in rows) else {}
    if not few or (len(left) == 2 and distinct[label] == max(distinct.values())):
        return {}
    return dict(zip(roles, [(label,), *((name,) for name in left if name != label)], strict=True))


def _kind_of_label(rows: Sequence[Values], column: str) -> str:
    """classification, or regression where the labels are numbers with decimals."""
    numbers = [_float(row.get(column)) for row in rows if row.get(column) not in (None, "")]
    broken = [number for number in numbers if number is not None and not number.is_integer()]
    return "regression" if broken and len(numbers) == len([n for n in numbers if n is not None]) else "classification"


def _headless(known: Sequence[str]) -> str:
    """A hint where the names of the columns look like a row of data."""
    if any(len(name) > 60 or re.fullmatch(r"[-+\d.]*", name) for name in known):
        return " The first row looks like data; name the columns with header: [...]."
    return ""


def _is_list(rows: Sequence[Values], column: str) -> bool:
    first = next((row[column] for row in rows if row.get(column) is not None), None)
    return isinstance(first, list) or (
        isinstance(first, str) and re.sub(r"[^a-z]", "", column.lower()) in NAMES["labels"]
    )


def _field(column: str, values: Values) -> JsonValue:
    if column not in values:
        raise Unfit(f"The field {column!r} is missing.{nearest(column, [str(name) for name in values])}")
    return values[column]


def _yes(column: str, value: JsonValue) -> bool:
    if value in (True, 1, "1", "1.0", "true", "True", "yes"):
        return True
    if value in (False, 0, "0", "0.0", "false", "False", "no", ""):
        return False
    raise Unfit(f"The field {column!r} holds {value!r}; 0 or 1 is expected of each of several columns of labels.")


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _kind(value: JsonValue) -> str:
    return "nothing" if value is None else type(value).__name__
