"""Warm-up, stable, decay: stays at the peak and falls in a straight line at the end; a run can be made longer from its stable part.

Source: Hu et al. 2024 (https://arxiv.org/abs/2404.06395), section 4.

    septet pretrain --schedule '{kind: wsd, decay: 0.2}' ...
"""

from __future__ import annotations

from pydantic import Field

from septet.train.schedule import Schedule

__all__ = ["Wsd"]


class Wsd(Schedule):
    """The peak, then a straight line down over the last part."""

    decay: float = Field(default=0.5, gt=0, le=1)
    """The share of all steps over which the rate falls."""

    def after(self, step: int, steps: int, warm: int) -> float:
        return min(1.0, (steps - step) / (max(1, round(self.decay * steps)) + 1))
