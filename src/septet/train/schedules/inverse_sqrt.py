"""Inverse root: falls with the root of the number of steps; needs no length known beforehand.

Source: Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762), section 5.3, scaled so that the peak is 1.

    septet pretrain --schedule inverse-sqrt ...
"""

from __future__ import annotations

from septet.train.schedule import Schedule

__all__ = ["InverseSqrt"]


class InverseSqrt(Schedule):
    """The root of the warm-up's length over the step's number."""

    def after(self, step: int, steps: int, warm: int) -> float:
        return (max(1, warm) / max(1, step + 1, warm)) ** 0.5
