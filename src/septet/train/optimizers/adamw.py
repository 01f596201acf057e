"""AdamW: steps in units of the gradient's own size, with decay apart from it; two numbers kept for each weight.

Source: Loshchilov and Hutter 2019 (https://arxiv.org/abs/1711.05101), algorithm 2; torch's, fused.

    septet pretrain --optimizer adamw ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from septet.train.optimizer import Optimizer, groups

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["AdamW"]


class AdamW(Optimizer):
    """torch's AdamW for all parameters."""

    relative_rate: ClassVar[float] = 0.4

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the averages of the gradient and of its square."""
    epsilon: float = Field(default=1e-8, ge=0)
    """Added to the root of the second average."""

    def make(self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return one optimizer."""
        import torch

        return [
            torch.optim.AdamW(groups(parameters, weight_decay), lr=1.0, betas=self.betas, eps=self.epsilon, fused=True)
        ]
