"""Adafactor: AdamW's second average kept as one number a row and one a column, no first; almost no memory.

Source: Shazeer and Stern 2018 (https://arxiv.org/abs/1804.04235), algorithm 4; torch's. A rate is relative to the size of each
matrix's own weights.

    septet pretrain --optimizer adafactor ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from septet.train.optimizer import Optimizer, groups

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """torch's Adafactor for all parameters."""

    shards: ClassVar[bool] = False

    decay: float = Field(default=-0.8, lt=0)
    """The second average's decay at step t is 1 - t to this power."""
    clip: float = Field(default=1.0, gt=0)
    """The largest root mean square of a matrix's step, before the rate."""

    def make(self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return one optimizer."""
        import torch

        return [torch.optim.Adafactor(groups(parameters, weight_decay), lr=1.0, beta2_decay=self.decay, d=self.clip)]
