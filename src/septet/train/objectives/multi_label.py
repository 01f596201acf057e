"""Multi-label classification: each label is there or not, by itself.

Loss = sum over texts and labels of -log sigmoid(logit) where the label is there, -log sigmoid(-logit) where it is not, divided by
texts times labels.

What it is not: one label of several (`classification`).

    python -m pytest tests/train/test_headed.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from septet.infer.inputs import Encoded
from septet.train.headed import HeadObjective
from septet.train.objective import Batch, State, Term

if TYPE_CHECKING:
    from torch import Tensor

    from septet.nn.model import Model

__all__ = ["MultiLabel"]


class MultiLabel(HeadObjective):
    """Mean binary cross-entropy of the labels, in nats a label."""

    def targets(self, rows: Sequence[Encoded]) -> tuple[Tensor, dict[str, float]]:
        """Return which labels are there, float32 [B, C]."""
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        found = np.stack([row.target for row in rows]).astype(np.float32)
        return torch.from_numpy(found), {"bce": float(found.size)}

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"bce": sum of the binary cross-entropies}, and how many judgements were right, which is only watched."""
        import torch

        logits = model.module(**batch.inputs).logits.float()
        assert batch.labels is not None
        bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.labels, reduction="sum")
        right = ((logits.detach() >= 0) == (batch.labels > 0.5)).sum().float()
        weight = batch.weights["bce"]
        return {"bce": Term(bce, weight), "accuracy": Term(right, weight, minimised=False)}
