"""Permutation language modelling: predict words in an order drawn anew each time, so that each may be given any others; XLNet's.

A sixth of the tokens are targets, in spans of 1 to 5, each in a stretch of six times its length. A target sees all tokens that are
no targets, and the targets that come before it in the drawn order; never itself (two-stream attention: Yang et al. 2019,
https://arxiv.org/abs/1906.08237, sections 2.2, 2.3 and appendix A; K = 6). Loss = mean over the targets of -log p(token).

What it is not: masked language modelling; no token is replaced, and the targets depend on each other.

    septet pretrain --family xlnet --objective permutation-lm ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.data.layout import lay, pieces
from septet.data.packing import IGNORE, Row, separator_of
from septet.data.surface import special
from septet.train.objective import Batch, Figure, Objective, State, Term

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["PermutationLM"]

MEASURED = 8192


class PermutationLM(Objective):
    """Mean negative log-likelihood of the targets, in nats a token."""

    fits: ClassVar[frozenset[str]] = frozenset({"permuted"})
    around: ClassVar[int] = 2

    one_in: int = Field(default=6, ge=1)
    """One token in so many is a target."""
    longest: int = Field(default=5, ge=1)
    """Tokens in a span of targets, at most."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Draw targets and an order for each piece; labels [B, P] for the P targets that a row has at most."""
        separator = separator_of(tokenizer)
        texts, orders = [], []
        for row, rng in zip(rows, rngs, strict=True):
            for text in pieces(row, separator):
                targets = span_targets(len(text), self.one_in, self.longest, rng)
                texts.append(text)
                # what is no target comes before everything, and is seen by all; the two tokens at the end too
                orders.append(np.where(targets, rng.permutation(len(text)), -1))
        return _batch(texts, orders, max(len(row.ids) for row in rows) + self.around, tokenizer)

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(token)} over the targets."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}

    def measure(
        self, model: Model, rows: Sequence[Row], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Bits per byte: every token a target, from left to right: the likelihood of a text of known length.

        Over about 8,192 tokens of the rows, spread evenly.
        """
        separator = separator_of(model.tokenizer)
        texts = [text for row in rows for text in pieces(row, separator)]
        texts = texts[:: max(1, round(sum(len(text) for text in texts) / MEASURED))]
        nats = 0.0
        for start in range(0, len(texts), 8):
            some = texts[start : start + 8]
            batch = _batch(
                some, [np.arange(len(text)) for text in some], max(len(t) for t in some) + 2, model.tokenizer
            )
            batch = batch.to(settled.device)
            assert batch.labels is not None
            with settled.autocast():
                nats += float(model.nll_sum(batch.inputs, batch.labels))
        return Figure("bits_per_byte", nats, sum(len(text) for text in texts))


def span_targets(length: int, one_in: int, longest: int, rng: Generator) -> np.ndarray:
    """Return which tokens are targets, bool [length], at least one: spans of 1 .. `longest`, each somewhere in a stretch that is
    `one_in` times as long."""
    targets = np.zeros(length, bool)
    start = 0
    while start < length:
        span = int(rng.integers(1, longest + 1))
        begin = start + int(rng.integers(span * one_in - span + 1))
        targets[begin : begin + span] = True
        start += span * one_in
    if not targets.any():
        targets[rng.integers(length)] = True
    return targets


def _batch(texts: Sequence[np.ndarray], orders: Sequence[np.ndarray], room: int, tokenizer: Any) -> Batch:
    """Lay texts out with their orders: -1 for what is no target, else its place. perm_mask[b, i, j] = 1: i may not see j."""
    import torch  # 1.5 s, and a recipe with an objective in it is parsed without

    sep, cls, pad = (
        special(tokenizer, role, families="xlnet", objective="permutation-lm") for role in ("sep", "cls", "pad")
    )
    lines = [np.concatenate([text, [sep, cls]]) for text in texts]
    order = [np.concatenate([places, [-1, -1]]) for places in orders]
    labels = [np.where(places >= 0, line, IGNORE) for line, places in zip(lines, order, strict=True)]
    laid = lay([len(line) for line in lines], room)
    ids, _, documents = laid.fill(lines, empty=pad)
    order_BT, labels_BT = laid.fill(order, empty=-1)[0], laid.fill(labels, empty=IGNORE)[0]

    target_BT = labels_BT != IGNORE
    hidden = (order_BT[:, :, None] <= order_BT[:, None, :]) & target_BT[:, None, :]
    apart = documents[:, :, None] != documents[:, None, :]
    most = int(target_BT.sum(axis=1).max())
    mapping = np.zeros((len(ids), most, ids.shape[1]), np.float32)
    targets = np.full((len(ids), most), IGNORE, np.int64)
    for row, chosen in enumerate(target_BT):
        places = np.flatnonzero(chosen)
        mapping[row, np.arange(len(places)), places] = 1.0
        targets[row, : len(places)] = labels_BT[row, places]
    arrays = {"input_ids": ids, "perm_mask": (hidden | apart).astype(np.float32), "target_mapping": mapping}
    return Batch(
        inputs={name: torch.from_numpy(array) for name, array in arrays.items()},
        labels=torch.from_numpy(targets),
        weights={"nll": float((targets != IGNORE).sum())},
        tokens=sum(len(line) for line in lines),
    )
