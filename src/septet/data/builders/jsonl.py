"""One's own questions and answers: rows of JSON in the forms that are in use, plain or .gz.

Read, row by row: {"messages": [{"role", "content"}]}; ShareGPT {"conversations": [{"from", "value"}]}; Alpaca
{"instruction", "input", "output"}; {"prompt", "completion"} or {"prompt", "response"}; {"question", "answer"}. Text only: rows
that call tools or hold pictures are refused with file and row. Reserved tokens inside a text are taken out and counted.

    septet dataset --builder '{kind: jsonl, path: rows.jsonl}'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from septet.core.component import InputPath
from septet.core.errors import DataError, nearest
from septet.data.builder import Builder, Built, Row
from septet.data.documents import Document, JsonValue, read_rows
from septet.data.special import without_reserved

__all__ = ["Jsonl"]

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


class Jsonl(Builder):
    """Rows of one's own."""

    reads_corpus = False

    path: InputPath
    """The file of rows."""
    held_out_share: float = Field(default=0.1, ge=0, le=0.9)
    """Share of the rows that is never trained on; the hash of seed and row chooses."""

    def build(self, train: Sequence[Document], held_out: Sequence[Document], *, seed: int) -> Built:
        """The rows in their order. Errors: DataError with file and row for what cannot be read as questions and answers."""
        path = Path(self.path)
        if not path.is_file():
            raise DataError("This is a folder; the builder 'jsonl' expects one file of rows.", file=path)
        sides: tuple[list[Row], list[Row]] = ([], [])
        cleaned = number = 0
        for number, row in read_rows(path):
            messages = _messages(path, number, row)
            clean = [{**message, "content": without_reserved(message["content"])} for message in messages]
            cleaned += clean != messages
            # Equal rows fall on the same side, so that no held-out row was trained on.
            digest = hashlib.sha256(f"{seed}\0{json.dumps(clean, sort_keys=True)}".encode()).digest()
            out = int.from_bytes(digest[:8], "big") < self.held_out_share * 2**64
            sides[out].append({"messages": clean, "document": f"{path.name}:{number}", "kind": "given"})
        if number == 0:
            raise DataError(
                "The file holds no rows; one JSON object a line, or a list of objects, is expected.", file=path
            )
        return Built(*sides, notes={"rows_with_reserved_tokens": cleaned})


def _messages(path: Path, number: int, row: dict[str, JsonValue]) -> list[dict[str, str]]:
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


def _pair(path: Path, number: int, row: dict[str, JsonValue]) -> list[dict[str, str]]:
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


def _turns(path: Path, number: int, turns: Any, *, field: str, role: str, content: str) -> list[dict[str, str]]:
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


def _text(path: Path, number: int, value: Any, field: str) -> str:
    if isinstance(value, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        value = "".join(str(part.get("text", "")) for part in value)
    if not isinstance(value, str) or not value.strip():
        what = "is empty" if isinstance(value, str) else f"holds {type(value).__name__}"
        raise DataError(f"The field {field!r} {what}; text is expected.", file=path, row=number)
    return value
