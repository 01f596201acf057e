"""Causal language modelling: predict each next token.

Loss = sum over positions of -log p(label | the tokens before it in the same document), divided by the number of labels.
Rows are packed rows (`septet.data.packing.Row`): for fine-tuning the labels outside the answer are -100, and nothing else differs.

What it is not: a choice of what is learned. The labels say that.

    septet pretrain --objective causal-lm ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from septet.data.layout import pieces
from septet.data.packing import IGNORE, Row, separator_of
from septet.train.objective import Batch, Figure, Objective, State, Term

if TYPE_CHECKING:
    import torch
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["CausalLM"]


class CausalLM(Objective):
    """Mean negative log-likelihood of the labels, in nats a token."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Stack rows [T] to int64 [B, T]; positions restart in each document, which keeps documents apart."""
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        # what every row pads at its end is not computed at all
        length = max(row.used for row in rows)

        def stack(name: str) -> torch.Tensor:
            return torch.from_numpy(np.stack([getattr(row, name)[:length] for row in rows]).astype(np.int64))

        labels = stack("labels")
        return Batch(
            inputs={"input_ids": stack("ids"), "position_ids": stack("positions")},
            labels=labels,
            weights={"nll": float((labels != IGNORE).sum())},
            tokens=sum(row.used for row in rows),
        )

    def measure(
        self, model: Model, rows: Sequence[Row], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Bits per byte: every token given those before it; the end of a document is predicted too, and paid for."""
        targets = sum(int((row.labels != IGNORE).sum()) for row in rows)
        separator = separator_of(model.tokenizer)
        return Figure(
            "bits_per_byte", last["nll"] * targets, sum(len(ids) for row in rows for ids in pieces(row, separator))
        )

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(label)} over the labels of the batch."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}
