"""Cosine: falls along half a cosine from the peak to the floor (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983).

septet pretrain --schedule cosine ...
"""

from __future__ import annotations

import math

from septet.train.schedule import Schedule

__all__ = ["Cosine"]


class Cosine(Schedule):
    """Half a cosine after the warm-up."""

    def after(self, step: int, steps: int, warm: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
