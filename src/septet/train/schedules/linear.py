"""Linear: falls in a straight line from the peak to the floor.

septet pretrain --schedule linear ...
"""

from __future__ import annotations

from septet.train.schedule import Schedule

__all__ = ["Linear"]


class Linear(Schedule):
    """A straight line after the warm-up."""

    def after(self, step: int, steps: int, warm: int) -> float:
        return (steps - step) / max(1, steps - warm)
