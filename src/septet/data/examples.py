"""What the rows of a data set hold, task by task, and the parts of a row: what is given, what is asked for, its labels.

    chat                {"messages": [{"role", "content"}]}
    classification      {"text", "label"}, for pairs of texts also "pair"
    multi-label         {"text", "labels": [...]}
    regression          {"text", "value"}, for pairs of texts also "pair"
    tagging             {"words": [...], "tags": [...]}, BIO (Ramshaw and Marcus 1995, as IOB2): O, B-PER, I-PER
    question-answering  {"id", "question", "context", "answers": [{"text", "start"}]}; start in characters, [] for no answer
    text-to-text        {"source", "target"}, where several are right also "references": [...]
    completion          {"prompt", "completion"}; the prompt may be empty
    similarity          {"anchor", "positive"}, where there is one also "negative"

A row may also have "id", and "group": rows of one group stay on one side of a split. It is no reader: see `septet.data.builders`.

    python -c "from septet.data.examples import given; print(given({'source': 'a', 'target': 'b'}))"
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from septet.data.documents import JsonValue

__all__ = ["TASKS", "asked", "given", "labels_of", "texts"]

TASKS = (
    "chat", "classification", "multi-label", "regression", "tagging", "question-answering", "text-to-text", "completion",
    "similarity",
)  # fmt: skip
GIVEN = ("text", "pair", "question", "context", "source", "prompt", "anchor")
ASKED = ("label", "labels", "value", "tags", "answers", "target", "references", "completion", "positive", "negative")

Row = Mapping[str, JsonValue]


def given(row: Row) -> str:
    """What a model is given of a row, as one text: rows that are given the same must not fall on two sides of a split.

    A completion without a prompt is the text itself.

    >>> given({"text": "a", "pair": "b", "label": "yes"})
    'a\\nb'
    """
    if "messages" in row:
        return "\n".join(message["content"] for message in row["messages"][:-1])
    if "words" in row:
        return " ".join(row["words"])
    found = "\n".join(row[name] for name in GIVEN if row.get(name))
    return found or str(row.get("completion", ""))


def asked(row: Row) -> str:
    """What a model is asked for, as one text that is equal for equal answers."""
    if "messages" in row:
        return row["messages"][-1]["content"]
    found = {name: row[name] for name in ASKED if name in row}
    only = next(iter(found.values()), "")
    return only if len(found) == 1 and isinstance(only, str) else json.dumps(found, ensure_ascii=False, sort_keys=True)


def labels_of(row: Row) -> list[str]:
    """The labels of a row: one, several, the types of its entities; none for a task without labels."""
    if "label" in row:
        return [row["label"]]
    if "labels" in row:
        return list(row["labels"])
    return sorted({tag[2:] for tag in row.get("tags", ()) if tag != "O"})


def texts(row: Row) -> dict[str, str]:
    """The texts of a row whose lengths matter, by name."""
    if "messages" in row:
        return {"messages": "\n".join(message["content"] for message in row["messages"])}
    if "words" in row:
        return {"words": " ".join(row["words"])}
    names = (
        "text",
        "pair",
        "question",
        "context",
        "source",
        "target",
        "prompt",
        "completion",
        "anchor",
        "positive",
        "negative",
    )
    return {name: row[name] for name in names if row.get(name)}
