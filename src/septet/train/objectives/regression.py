"""Regression: a number for each text.

Loss = sum over texts of (prediction - value)^2, divided by the number of texts.

What it is not: robust to outliers; look at the values first.

    python -m pytest tests/train/test_headed.py
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

__all__ = ["Regression"]


class Regression(HeadObjective):
    """Mean squared error of the values."""

    def targets(self, rows: Sequence[Encoded]) -> tuple[Tensor, dict[str, float]]:
        """Return the values, float32 [B]."""
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        return torch.tensor([float(row.target) for row in rows]), {"mse": float(len(rows))}

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"mse": sum of the squared errors}."""
        import torch

        values = model.module(**batch.inputs).logits.float()[:, 0]
        assert batch.labels is not None
        return {"mse": Term(torch.nn.functional.mse_loss(values, batch.labels, reduction="sum"), batch.weights["mse"])}
