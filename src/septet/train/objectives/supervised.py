"""Supervised fine-tuning: learn the assistant's words, and when to stop, given the conversation before them.

Loss = sum over the tokens of the answers, each with the token that ends it, of -log p(token | all tokens before it), divided by
their number (Ouyang et al. 2022, section 3.5, with the prompt's tokens masked). Questions and roles are read, not learned.

What it is not: a renderer; `septet.infer.tasks.chat` makes the samples. Conversations are packed into rows that do not see each
other.

    septet finetune --model base --data questions
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import Generator

from septet.data.packing import IGNORE, Sample, pack
from septet.nn.model import Model
from septet.train.objective import Batch, Objective, State, Term

__all__ = ["Supervised", "stack"]


ROW = 256
"""Tokens in a row of packed conversations; attention costs the square of it."""


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
    ragged: ClassVar[bool] = True

    packed: bool = True
    """Whether a row may hold several conversations; what is learned is the same, only slower where each has its own."""

    def apart(self) -> Self:
        return self.model_copy(update={"packed": False})

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
