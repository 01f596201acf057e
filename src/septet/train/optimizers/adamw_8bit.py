"""AdamW with 8-bit states: a quarter of AdamW's memory, nearly its steps.

Source: Dettmers et al. 2022 (https://arxiv.org/abs/2110.02861): each block of 256 values is scaled by its largest, and each value
rounded to the nearest of 256 numbers that lie denser near zero. Tensors of fewer than 4,096 values keep float32 states. The code is
ours, in torch, so that it runs on every device; on a processor it saves memory, not time.

    septet pretrain --optimizer adamw-8bit ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from septet.train.optimizer import Optimizer, groups

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["AdamW8bit"]


class AdamW8bit(Optimizer):
    """AdamW whose two averages are kept in 8 bits."""

    relative_rate: ClassVar[float] = 0.4
    shards: ClassVar[bool] = False

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the averages of the gradient and of its square."""
    epsilon: float = Field(default=1e-8, ge=0)
    """Added to the root of the second average."""

    def make(self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return one optimizer."""
        from septet.train.optim import EightBitAdamW

        return [EightBitAdamW(groups(parameters, weight_decay), lr=1.0, betas=self.betas, epsilon=self.epsilon)]
