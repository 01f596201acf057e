"""Constant: stays at the peak after the warm-up.

septet pretrain --schedule constant ...
"""

from __future__ import annotations

from septet.train.schedule import Schedule

__all__ = ["Constant"]


class Constant(Schedule):
    """The peak."""

    def after(self, step: int, steps: int, warm: int) -> float:
        return 1.0
