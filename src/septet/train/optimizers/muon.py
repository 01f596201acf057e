"""Muon: the layers' matrices take orthogonal steps, which use all directions alike; AdamW for the rest.

Source: Jordan 2024 (https://kellerjordan.github.io/posts/muon/), with the step's size matched to AdamW's (Liu et al. 2025,
https://arxiv.org/abs/2502.16982, section 2.2), so that one learning rate serves both.

    septet pretrain --optimizer muon ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from septet.train.optimizer import Optimizer, groups

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Muon"]

OUTER = ("embed", "wte", "wpe", "lm_head", "lm_loss", "shared", "cls.", "relative_attention_bias", "mask_emb")
"""Parts of the names of matrices that look tokens or positions up, or judge: their rows are not directions of one map."""


class Muon(Optimizer):
    """Orthogonal steps for the matrices between layers; AdamW for embeddings, heads and vectors."""

    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the matrices' average gradient."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's, for the rest."""
    epsilon: float = Field(default=1e-8, ge=0)
    """AdamW's, for the rest."""

    def make(self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return Muon for the inner matrices, and AdamW where anything else is left."""
        import torch

        from septet.train.optim import MuonStep

        inner = {
            name: p
            for name, p in parameters.items()
            if p.ndim >= 2 and not name.endswith("bias") and not any(part in name for part in OUTER)
        }
        rest = {name: p for name, p in parameters.items() if name not in inner}
        found: list[torch.optim.Optimizer] = []
        if inner:
            found.append(MuonStep(inner.values(), momentum=self.momentum, weight_decay=weight_decay))
        if rest:
            found.append(
                torch.optim.AdamW(groups(rest, weight_decay), lr=1.0, betas=self.betas, eps=self.epsilon, fused=True)
            )
        return found
