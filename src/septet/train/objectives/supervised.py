"""Supervised fine-tuning: learn the assistant's words, and when to stop, given the conversation before them.

Loss = sum over the tokens of the answers, each with the token that ends it, of -log p(token | all tokens before it), divided by
their number (Ouyang et al. 2022, section 3.5, with the prompt's tokens masked). Questions and roles are read, not learned.

What it is not: a renderer; `septet.infer.chat` makes the tokens. Conversations are packed into rows that do not see each other.

    septet finetune --model base --data questions
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import Generator

from septet.core.errors import DataError
from septet.data.packing import IGNORE, Sample, pack
from septet.infer.chat import Chat
from septet.nn.model import Model
from septet.train.objective import Batch, Objective, State, Term

__all__ = ["Prepared", "Supervised", "prepare_conversations", "stack"]


ROW = 256
"""Tokens in a row of packed conversations; attention costs the square of it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparation found. cut: conversations longer than the limit; lost: answer tokens that were cut off with them."""

    rows: int
    tokens: int
    targets: int
    longest: int
    cut: int
    lost: int

    def facts(self) -> dict[str, int]:
        return asdict(self)


def prepare_conversations(
    rows: Iterable[tuple[int, Mapping[str, Any]]], tokenizer: Any, *, max_tokens: int, file: object = None
) -> tuple[list[Sample], Prepared]:
    """Return a sample for each (row number, {"messages": [...]}), with labels on the assistant's words alone.

    A conversation of more than `max_tokens` tokens is cut at its end. Raises DataError for a row that is no conversation, and
    for one that has nothing to learn: no answer, or one that lies wholly beyond the limit.
    """
    chat = Chat(tokenizer)
    samples: list[Sample] = []
    longest = cut = lost = 0
    for number, row in rows:
        messages = row.get("messages")
        _check(messages, file, number)
        rendered = chat.conversation(messages)  # type: ignore[arg-type]
        ids = np.asarray(rendered.ids, dtype=np.int32)
        labels = np.where(rendered.answer, ids, IGNORE).astype(np.int32)
        longest = max(longest, len(ids))
        if len(ids) > max_tokens + 1:  # the last token is only predicted
            cut += 1
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
    return samples, Prepared(len(samples), sum(len(s.ids) for s in samples), targets, longest, cut, lost)


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


def stack(
    samples: Sequence[Sample], *, pad: int, packed: bool = True
) -> tuple[dict[str, torch.Tensor], torch.Tensor, int]:
    """Pack samples into rows of ROW tokens, or as long as the longest sample; return inputs, labels [B, T] and used tokens.

    packed: False gives each sample a row of its own, and the padding after it positions that go on.
    """
    lengths = [len(sample.ids) for sample in samples]
    if packed:
        rows, _ = pack(samples, max([*lengths, min(ROW, sum(lengths))]), pad=pad)
    else:
        rows = [row for sample in samples for row in pack([sample], max(lengths), pad=pad)[0]]
    length = max(row.used for row in rows)
    for row in rows:  # the padding of a row may be longer than any position that the model has
        row.positions[row.used :] += 0 if packed else row.used
        row.positions[row.used :] %= max(lengths)
    ids, labels, positions = (
        torch.from_numpy(np.stack([getattr(row, name)[:length] for row in rows]).astype(np.int64))
        for name in ("ids", "labels", "positions")
    )
    return {"input_ids": ids, "position_ids": positions}, labels, sum(row.used for row in rows)


class Supervised(Objective):
    """Mean negative log-likelihood of the answers' tokens, in nats a token."""

    learns_from: ClassVar[Literal["text", "conversations", "pairs", "labels"]] = "conversations"

    packed: bool = True
    """Whether a row may hold several conversations; what is learned is the same, only slower where each has its own."""

    def prepare(self, rows: Sequence[Sample], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Pack conversations into int64 [B, T]; positions restart in each, which keeps them apart."""
        inputs, labels, used = stack(rows, pad=_pad(tokenizer), packed=self.packed)
        return Batch(inputs=inputs, labels=labels, weights={"nll": float((labels != IGNORE).sum())}, tokens=used)

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(label)} over the answers' tokens."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}


def _pad(tokenizer: Any) -> int:
    return 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
