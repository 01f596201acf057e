"""Contrastive: the vectors of two texts that belong together are closer than those of others in the batch (InfoNCE).

Loss = sum over rows i of -log( exp(cos(a_i, p_i) / t) / sum over c of exp(cos(a_i, c) / t) ), divided by the number of rows.
a: anchors, p: positives; c runs over the positives of all rows of the batch and the negatives that rows bring (van den Oord et
al. 2018, arXiv:1807.03748, equation 4; Gao et al. 2021, arXiv:2104.08821, equations 1 and 5, where t is 0.05). A candidate with the
same text as the row's own positive, or of a row with the same anchor, is right as well and is left out of the sum.

The loss depends on which rows are in a batch, so a batch is never split, and held-out losses of other batch sizes are others.

What it is not: a regression of similarities that people gave.

    python -m pytest tests/train/test_contrastive.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from septet.infer.inputs import Encoded, collate
from septet.train.objective import Batch, Objective, State, Term

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model

__all__ = ["Contrastive"]


class Contrastive(Objective):
    """Mean negative log-likelihood of the text that belongs to a text, among those of the batch, in nats a row."""

    fits: ClassVar[frozenset[str]] = frozenset({"decoder", "encoder", "permuted"})
    learns_from: ClassVar[Literal["text", "conversations", "pairs", "labels"]] = "labels"
    compiles: ClassVar[bool] = False
    couples: ClassVar[bool] = True

    pooling: Literal["mean", "first", "last"] = "mean"
    """What a text's vector is made of: the mean of its tokens' hidden states, the first, or the last."""
    temperature: float = Field(default=0.05, gt=0)
    """What cosines are divided by; lower looks more at the likeliest wrong texts."""
    symmetric: bool = False
    """Also find the anchor for each positive; the loss is the mean of both ways (Radford et al. 2021, arXiv:2103.00020)."""
    pad_side: Literal["right", "left"] = "right"
    """Where short texts are filled up; the left for XLNet."""

    def suited(self, architecture: str) -> Self:
        return self.model_copy(update={"pad_side": "left"}) if architecture == "permuted" else self

    def prepare(
        self, rows: Sequence[tuple[Encoded, Encoded, Encoded | None]], tokenizer: Any, rngs: Sequence[Generator]
    ) -> Batch:
        """Stack anchors, then positives, then negatives, to int64 [B + B + N, T]; N: rows with a negative.

        extra: "same" bool [B, B + N], candidates that are right for a row besides its own.
        """
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        anchors, positives = [row[0] for row in rows], [row[1] for row in rows]
        negatives = [row[2] for row in rows if row[2] is not None]
        inputs = collate([*anchors, *positives, *negatives], tokenizer, left=self.pad_side == "left")
        asked, found = _numbers([*anchors]), _numbers([*positives, *negatives])
        same = found[: len(rows), None] == found[None]
        same[:, : len(rows)] |= asked[:, None] == asked[None]
        np.fill_diagonal(same, val=False)
        return Batch(
            inputs=inputs,
            weights={"nll": float(len(rows))},
            tokens=int(inputs["attention_mask"].sum()),
            extra={"same": torch.from_numpy(same)},
        )

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(the row's own text)}, and for how many rows it was the closest, which is only watched."""
        import torch

        from septet.nn.pooling import unit_vectors

        same = batch.extra["same"]
        count = len(same)
        hidden = model.module(**batch.inputs).last_hidden_state
        # a cosine in bfloat16 has two digits, and is divided by a small number
        with torch.autocast(hidden.device.type, enabled=False):
            vectors = unit_vectors(hidden, batch.inputs["attention_mask"], self.pooling)
            scores = vectors[:count] @ vectors[count:].T / self.temperature
        scores = scores.masked_fill(same, -torch.inf)
        own = torch.arange(count, device=scores.device)
        nll = torch.nn.functional.cross_entropy(scores, own, reduction="sum")
        if self.symmetric:
            back = torch.nn.functional.cross_entropy(scores[:, :count].T, own, reduction="sum")
            nll = (nll + back) / 2
        right = (scores.detach().argmax(dim=-1) == own).sum().float()
        weight = batch.weights["nll"]
        return {"nll": Term(nll, weight), "accuracy": Term(right, weight, minimised=False)}


def _numbers(texts: Sequence[Encoded]) -> np.ndarray:
    """Return equal numbers for equal texts, int64 [N]."""
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(text.ids.tobytes(), len(known)) for text in texts], dtype=np.int64)
