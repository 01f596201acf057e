"""Tagging: a tag for each word, at one of its tokens.

Loss = sum over words of -log softmax(logits)[tag], divided by the number of words. Other tokens learn nothing.

What it is not: a model of which tag may follow which (a conditional random field).

    python -m pytest tests/train/test_headed.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from septet.data.packing import IGNORE
from septet.infer.inputs import Encoded, labels_at
from septet.train.headed import HeadObjective
from septet.train.objective import Batch, State, Term

if TYPE_CHECKING:
    from torch import Tensor

    from septet.nn.model import Model

__all__ = ["Tagging"]


class Tagging(HeadObjective):
    """Mean negative log-likelihood of the tags, in nats a word."""

    def targets(self, rows: Sequence[Encoded]) -> tuple[Tensor, dict[str, float]]:
        """Return the numbers of the tags at the tokens that are judged, int64 [B, T], -100 at the others."""
        labels = labels_at(rows, left=self.pad_side == "left")
        return labels, {"nll": float((labels != IGNORE).sum())}

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(tag)}, and how many tags were the likeliest, which is only watched."""
        import torch

        assert batch.labels is not None
        judged = batch.labels != IGNORE
        logits, labels = model.module(**batch.inputs).logits[judged].float(), batch.labels[judged]
        nll = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        right = (logits.detach().argmax(dim=-1) == labels).sum().float()
        weight = batch.weights["nll"]
        return {"nll": Term(nll, weight), "accuracy": Term(right, weight, minimised=False)}
