"""Classification: one of some labels for each text.

Loss = sum over texts of -log softmax(logits)[label], divided by the number of texts.

What it is not: a choice of a class by generating its name.

    python -m pytest tests/train/test_classification.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from septet.infer.inputs import Encoded
from septet.train.headed import HeadObjective
from septet.train.objective import Batch, State, Term

if TYPE_CHECKING:
    from torch import Tensor

    from septet.nn.model import Model

__all__ = ["Classification"]


class Classification(HeadObjective):
    """Mean negative log-likelihood of the labels, in nats a text."""

    def targets(self, rows: Sequence[Encoded]) -> tuple[Tensor, dict[str, float]]:
        """Return the numbers of the labels, int64 [B]."""
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        return torch.tensor([row.target for row in rows]), {"nll": float(len(rows))}

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(label)}, and how many labels were the likeliest, which is only watched."""
        import torch

        logits = model.module(**batch.inputs).logits.float()
        assert batch.labels is not None
        nll = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
        right = (logits.detach().argmax(dim=-1) == batch.labels).sum().float()
        weight = batch.weights["nll"]
        return {"nll": Term(nll, weight), "accuracy": Term(right, weight, minimised=False)}
