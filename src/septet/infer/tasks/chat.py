"""Conversations: the assistant's next words, given all before them.

Rows: {"messages": [{"role", "content"}, ...]}, the last by the assistant. Loss on the assistant's words alone, and on the
token that ends them. What it is not: a tool caller.

    septet finetune --model base --data questions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.core.errors import ComponentError, DataError
from septet.data.packing import IGNORE, Sample
from septet.infer.chat import Chat as Renderer
from septet.infer.chat import prepare_for_chat
from septet.infer.task import Gives, Predicted, Prepared, Preparing, Row, Rows, Task, Tell, TooLong

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Chat", "prepare_conversations", "written"]


class Chat(Task):
    """Conversations."""

    objective: ClassVar[str] = "supervised"
    gives: ClassVar[Gives] = "text"
    learns: ClassVar[str] = "tokens of answers"
    fits: ClassVar[tuple[str, ...]] = ("decoder",)

    max_new_tokens: int = Field(default=128, ge=1)
    """The longest answer that is written, in tokens."""
    too_long: TooLong = "refuse"
    """Conversations to learn from that are longer than the model reads: refused, all named; cut at their end, and counted; or
    dropped, and counted. A question to answer loses its earliest turns."""

    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        from septet.nn.load import open_model  # torch, 1.5 s

        model = open_model(folder, device=device)
        prepare_for_chat(model.module, model.tokenizer)
        return model

    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        return prepare_conversations(rows, model.tokenizer, max_tokens=max_tokens, file=file, too_long=self.too_long)

    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        return written(model, [row["messages"][:-1] for row in rows], max_tokens=self.max_new_tokens, tell=tell)

    def row(self, text: str, *, pair: str | None = None, context: str | None = None) -> dict[str, Any]:
        if pair is not None or context is not None:
            raise ComponentError("a conversation is one text; leave the other out.")
        return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": ""}]}

    def expected(self, row: Row) -> str:
        return row["messages"][-1]["content"]


def written(
    model: Model, prompts: Sequence[Sequence[Mapping[str, str]]], *, max_tokens: int, tell: Tell
) -> list[Predicted]:
    """Return the likeliest answer, token by token, to each conversation."""
    from septet.infer.engine import Request
    from septet.infer.engines.torch import TorchEngine

    found: list[Predicted] = []
    with TorchEngine(model.module, model.tokenizer) as engine:
        for start in range(0, len(prompts), 32):
            some = [
                Request(messages=list(p), max_tokens=max_tokens, truncate=True) for p in prompts[start : start + 32]
            ]
            for answer in engine.generate_batch(some):
                facts = {"cut_tokens": answer.truncated} if answer.truncated else {}
                found.append(Predicted(answer.text, facts=facts))
            tell(len(found), len(prompts))
    return found


def prepare_conversations(
    rows: Rows, tokenizer: Any, *, max_tokens: int, file: object = None, too_long: TooLong = "refuse"
) -> tuple[list[Sample], Prepared]:
    """Return a sample for each (row number, {"messages": [...]}), with labels on the assistant's words alone.

    too_long: what happens to a conversation of more than `max_tokens` tokens. Raises DataError for a row that is no conversation,
    and for one that has nothing to learn: no answer, or one that lies wholly beyond the limit.
    """
    chat = Renderer(tokenizer)
    samples: list[Sample] = []
    told = Preparing("chat", too_long, max_tokens, file)
    lost = 0
    for number, row in rows:
        messages = row.get("messages")
        _check(messages, file, number)
        rendered = chat.conversation(messages)  # type: ignore[arg-type]
        ids = np.asarray(rendered.ids, dtype=np.int32)
        labels = np.where(rendered.answer, ids, IGNORE).astype(np.int32)
        # the last token is only predicted
        if not told.takes(number, len(ids), over=len(ids) > max_tokens + 1):
            continue
        lost += int((labels[max_tokens + 1 :] != IGNORE).sum())
        ids, labels = ids[: max_tokens + 1], labels[: max_tokens + 1]
        if not (labels[1:] != IGNORE).any():
            raise DataError(
                f"no token of this conversation can be learned: its answer begins beyond the limit of {max_tokens} tokens. "
                "Raise max_tokens (up to the model's context), shorten the question, or leave the row out.",
                file=file,
                row=number,
            )
        samples.append(Sample(ids[:-1], labels[1:]))
    targets = sum(int((sample.labels != IGNORE).sum()) for sample in samples)
    tokens = sum(len(sample.ids) for sample in samples)
    return samples, told.found(rows=len(samples), tokens=tokens, targets=targets, lost=lost)


def _check(messages: Any, file: object, number: int) -> None:
    expected = 'expected "messages": a list of {"role": "system", "user" or "assistant", "content": text}'
    if not isinstance(messages, list) or not messages:
        raise DataError(f"the row has no list of messages; {expected}.", file=file, row=number)
    for place, message in enumerate(messages):
        fine = isinstance(message, dict) and message.get("role") in ("system", "user", "assistant")
        if not fine or not isinstance(message.get("content"), str):
            raise DataError(f"messages[{place}] is {str(message)[:80]!r}; {expected}.", file=file, row=number)
    if not any(message["role"] == "assistant" and message["content"].strip() for message in messages):
        raise DataError(
            "nobody answers in this conversation, so there is nothing to learn; it needs a message of the assistant.",
            file=file,
            row=number,
        )
