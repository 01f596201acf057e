"""Lion: every weight moves by the rate, up or down, as the sign of an average says; one number kept for each weight.

Source: Chen et al. 2023 (https://arxiv.org/abs/2302.06675), algorithm 2. Its rate is three to ten times smaller than AdamW's, and
its weight decay as much larger.

    septet pretrain --optimizer lion ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from septet.train.optimizer import Optimizer, groups

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Lion"]


class Lion(Optimizer):
    """Signs of averages, for all parameters."""

    relative_rate: ClassVar[float] = 0.1

    betas: tuple[float, float] = (0.9, 0.99)
    """Weight of the average in the step, and its decay."""

    def make(self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return one optimizer."""
        from septet.train.optim import SignMomentum

        return [SignMomentum(groups(parameters, weight_decay), lr=1.0, betas=self.betas)]
