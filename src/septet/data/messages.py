"""The forms in which people keep conversations, read into messages of a role and a text.

{"messages": [{"role", "content"}]}; ShareGPT {"conversations": [{"from", "value"}]}; Alpaca {"instruction", "input", "output"};
{"prompt", "completion"} or {"prompt", "response"}; {"question", "answer"}. It reads no files, and no calls of tools.

    python -m pytest tests/data/test_builders.py -k form
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from septet.core.errors import DataError, nearest
from septet.data.documents import JsonValue

__all__ = ["messages_of"]

PAIRS = (("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("instruction", "output"))
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
EXPECTED = (
    "Expected are messages, conversations, instruction and output (and input), prompt and completion, prompt and response,"
    " or question and answer."
)


def messages_of(path: object, number: int, row: Mapping[str, JsonValue]) -> list[dict[str, str]]:
    """The messages of a row in any of the forms, ending with the assistant's. Errors: DataError with file and row."""
    if "messages" in row:
        messages = _turns(path, number, row["messages"], field="messages", role="role", content="content")
    elif "conversations" in row:
        messages = _turns(path, number, row["conversations"], field="conversations", role="from", content="value")
    else:
        messages = _pair(path, number, row)
    roles = [message["role"] for message in messages]
    if not roles or roles[-1] != "assistant" or "user" not in roles:
        message = f"The roles are {roles}; a question by the user and, last, an answer by the assistant are expected."
        raise DataError(message, file=path, row=number)
    if "system" in roles[1:]:
        raise DataError(
            "A system message stands after the first place; it is expected first or not at all.", file=path, row=number
        )
    return messages


def _pair(path: object, number: int, row: Mapping[str, JsonValue]) -> list[dict[str, str]]:
    for asked, answered in PAIRS:
        if asked in row and answered in row:
            question, answer = (_text(path, number, row[field], field) for field in (asked, answered))
            if asked == "instruction" and row.get("input"):
                question = f"{question}\n\n{_text(path, number, row['input'], 'input')}"
            found = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            if asked == "instruction" and row.get("system"):
                found.insert(0, {"role": "system", "content": _text(path, number, row["system"], "system")})
            return found
    for asked, answered in PAIRS:
        if asked in row or answered in row:
            lacking = answered if asked in row else asked
            hint = nearest(lacking, row)
            raise DataError(f"The field {lacking!r} is missing.{hint} {EXPECTED}", file=path, row=number)
    raise DataError(f"The row has the fields {sorted(row)}. {EXPECTED}", file=path, row=number)


def _turns(path: object, number: int, turns: Any, *, field: str, role: str, content: str) -> list[dict[str, str]]:
    if not isinstance(turns, list) or not turns:
        raise DataError(f"The field {field!r} must be a list of messages that is not empty.", file=path, row=number)
    found = []
    for place, turn in enumerate(turns):
        if not isinstance(turn, dict) or role not in turn or content not in turn:
            message = f"{field}[{place}] must be an object with {role!r} and {content!r}."
            raise DataError(message, file=path, row=number)
        name = str(turn[role])
        if name not in ROLES or turn.get("tool_calls"):
            what = "calls tools" if name in ROLES else f"has the role {name!r}"
            message = f"{field}[{place}] {what}; text by {', '.join(ROLES)} is expected. Take such rows out."
            raise DataError(message, file=path, row=number)
        found.append(
            {"role": ROLES[name], "content": _text(path, number, turn[content], f"{field}[{place}].{content}")}
        )
    return found


def _text(path: object, number: int, value: Any, field: str) -> str:
    if isinstance(value, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        value = "".join(str(part.get("text", "")) for part in value)
    if not isinstance(value, str) or not value.strip():
        what = "is empty" if isinstance(value, str) else f"holds {type(value).__name__}"
        raise DataError(f"The field {field!r} {what}; text is expected.", file=path, row=number)
    return value
