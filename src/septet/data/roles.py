"""Which column of a table plays which role of which task: told by names and, where these do not say, by values.

Roles are the fields of `septet.data.examples`, `start` (where an answer begins) and `time`. A column may be a path into nested
ones: `translation.de` of objects, `spans[].type` of lists of objects. What was inferred is told, and can be said instead. What may
stand in a column is `septet.data.shape`'s.

    python -m pytest tests/data/test_own_builders.py -k columns
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from septet.core.errors import DataError, nearest
from septet.data.documents import JsonValue

__all__ = ["OPTIONAL", "REQUIRED", "ROLES", "Task", "Values", "at", "finite", "infer", "split_words"]

Task = Literal[
    "chat", "classification", "multi-label", "regression", "tagging", "question-answering", "text-to-text", "completion",
    "similarity",
]  # fmt: skip
Values = Mapping[str, JsonValue]

REQUIRED: dict[str, tuple[str, ...]] = {
    "chat": (),
    "classification": ("text", "label"),
    "multi-label": ("text", "labels"),
    "regression": ("text", "value"),
    "tagging": ("words", "tags"),
    "question-answering": ("question", "context", "answers"),
    "text-to-text": ("source", "target"),
    "similarity": ("anchor", "positive"),
    "completion": ("completion",),
}
"""The roles that a task needs."""
OPTIONAL: dict[str, tuple[str, ...]] = {
    "classification": ("pair",),
    "regression": ("pair",),
    "question-answering": ("start",),
    "text-to-text": ("references",),
    "similarity": ("negative",),
    "completion": ("prompt",),
}
ANY = ("id", "group", "time")
ROLES = (
    "text", "pair", "label", "labels", "value", "source", "target", "references", "prompt", "completion", "anchor", "positive",
    "negative", "words", "tags", "question", "context", "answers", "start", *ANY,
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
    "words": ("words", "tokens"),
    "tags": ("nertags", "tags", "ner"),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph"),
    "answers": ("answers", "answer"),
    "start": ("answerstart",),
    "id": ("id", "idx", "guid", "uid", "fname", "paperid", "pairid", "exampleid"),
}  # fmt: skip
"""How columns of a role are called, the likelier first; in lower case, letters and digits only."""
CHAT = (("messages",), ("conversations",), ("instruction", "output"), ("question", "answer"))
LANGUAGES = frozenset(
    "ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv nl no pl pt ro ru sk sl sr sv sw ta th tr uk ur vi zh"
    .split()
)  # fmt: skip
TITLE = "title"  # of the article that a passage is from, in sets like SQuAD
FEW = 50  # values of a column that is taken for one of labels without being called so


def infer(
    rows: Sequence[Values], *, task: str | None, columns: Mapping[str, tuple[str, ...]], file: object
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return the task and the columns of its roles, from the rows of the training part and what is known already.

    Errors: DataError where a named column is not there, or where the columns do not say what the rows are for.
    """
    known = list(dict.fromkeys(str(name) for row in rows for name in row))
    for role, names in columns.items():
        for name in names:
            if name not in known and not any(_is_at(name, row) for row in rows):
                near = nearest(name, [*known, *_nested(rows)])
                raise DataError(f"There is no column {name!r} for the role {role!r}.{near}", file=file)
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
        tasks.remove("question-answering")
        if _answers_in_passages(rows, known):
            return "question-answering"
        if any(all(name in known for name in form) for form in CHAT):
            return "chat"
    # what is asked for decides: a column of texts stands in many tasks. Names come before values.
    for task in (
        "question-answering",
        "tagging",
        "similarity",
        "completion",
        "text-to-text",
        "multi-label",
        "classification",
        "regression",
    ):
        found = _roles_of(task, rows, known, columns, by_values=False)
        if task in tasks and {*REQUIRED[task], *(("prompt",) if task == "completion" and not asked else ())} <= set(
            found
        ):
            if task == "tagging" and not asked and not _as_long(rows, found):
                continue
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
    if task != "question-answering":  # the answers of a passage may be an object; a text or a label is none
        known = [name for name in known if not isinstance(_first(rows, name), Mapping)]
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
        spoken = _languages(rows, known)
        if spoken:
            found["source"], found["target"] = (spoken[0],), (spoken[1],)
    if task == "question-answering" and "group" not in found and TITLE in known:
        found["group"] = (TITLE,)
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
        return {"text": (left[0],)} if any(finite(row.get(left[0])) is None for row in rows) else {}
    if not few or (len(left) == 2 and distinct[label] == max(distinct.values())):
        return {}
    return dict(zip(roles, [(label,), *((name,) for name in left if name != label)], strict=True))


def _kind_of_label(rows: Sequence[Values], column: str) -> str:
    """classification, or regression where the labels are numbers with decimals."""
    numbers = [finite(row.get(column)) for row in rows if row.get(column) not in (None, "")]
    broken = [number for number in numbers if number is not None and not number.is_integer()]
    return "regression" if broken and len(numbers) == len([n for n in numbers if n is not None]) else "classification"


def _headless(known: Sequence[str]) -> str:
    """A hint where the names of the columns look like a row of data."""
    if any(len(name) > 60 or re.fullmatch(r"[-+\d.]*", name) for name in known):
        return " The first row looks like data; name the columns with header: [...]."
    return ""


def _first(rows: Sequence[Values], column: str) -> JsonValue:
    return next((row[column] for row in rows if row.get(column) is not None), None)


def _is_list(rows: Sequence[Values], column: str) -> bool:
    first = _first(rows, column)
    return isinstance(first, list) or (
        isinstance(first, str) and re.sub(r"[^a-z]", "", column.lower()) in NAMES["labels"]
    )


def _answers_in_passages(rows: Sequence[Values], known: Sequence[str]) -> bool:
    """Whether the columns are those of answers in passages, and not of answers of one's own."""
    found = _roles_of("question-answering", rows, known, {})
    if not set(REQUIRED["question-answering"]) <= set(found):
        return False
    return "start" in found or isinstance(_first(rows, found["answers"][0]), list | Mapping)


def _as_long(rows: Sequence[Values], found: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the first row has a tag for each word."""
    words, tags = (_first(rows, found[role][0]) for role in ("words", "tags"))
    return type(words) is type(tags) and len(split_words(words)) == len(split_words(tags)) > 0


def split_words(value: JsonValue) -> list[Any]:
    """Return the words of a list, or of a text with white space between them; nothing of what is neither."""
    return value.split() if isinstance(value, str) else value if isinstance(value, list) else []


def _languages(rows: Sequence[Values], known: Sequence[str]) -> list[str]:
    """The two columns, or the two paths into columns of objects, that are called by languages; none where there are not two."""
    nested = [path for path in _nested(rows) if path.partition(".")[2].lower() in LANGUAGES]
    if len(nested) == 2:  # `id` beside them is a number, and not Indonesian
        return nested
    top = [name for name in known if name.lower() in LANGUAGES]
    return top if len(top) == 2 else []


def _nested(rows: Sequence[Values]) -> list[str]:
    """The paths one step into columns that hold objects, or lists of them."""
    found: dict[str, None] = {}
    for name, value in ((name, value) for row in rows for name, value in row.items()):
        if isinstance(value, Mapping):
            found.update(dict.fromkeys(f"{name}.{key}" for key in value))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            found.update(dict.fromkeys(f"{name}[].{key}" for key in value[0]))
    return list(found)


def _is_at(column: str, values: Values) -> bool:
    """Whether a path leads to something in a row; an empty list on the way says nothing of what its members have."""
    try:
        return at(column, values) != []
    except LookupError:
        return False


def at(column: str, values: Values) -> JsonValue:
    """Return the value of a column, or of a path into nested ones. Errors: LookupError where it is not there.

    >>> at("translation.de", {"translation": {"de": "Hund"}}), at("spans[].type", {"spans": [{"type": "a"}, {"type": "b"}]})
    ('Hund', ['a', 'b'])
    """
    return values[column] if column in values else _into(values, column.split("."))


def _into(value: Any, steps: Sequence[str]) -> Any:
    if not steps:
        return value
    name = steps[0].removesuffix("[]")
    if not isinstance(value, Mapping) or name not in value:
        raise LookupError(name)
    if name == steps[0]:
        return _into(value[name], steps[1:])
    if not isinstance(value[name], list):
        raise LookupError(name)
    return [_into(part, steps[1:]) for part in value[name]]


def finite(value: Any) -> float | None:
    """Return a number, or a text that is one, as a float; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
