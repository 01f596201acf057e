"""A schedule: the share of the peak learning rate at each step of a run.

Every schedule rises linearly over the warm-up first, and never falls below its floor. Steps are counted from 0.

What it is not: the peak; that is the run's.

    python -m pytest tests/train/test_plan.py
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field, field_validator

from septet.core.component import Component

__all__ = ["Schedule"]


class Schedule(Component):
    """The course of the learning rate, as shares of its peak."""

    drawer: ClassVar[str] = "septet.train.schedules"

    warmup: float = Field(default=0.05, ge=0)
    """Steps of linear rise: a number of steps, or, below 1, a share of all steps."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """The share of the peak below which the rate does not fall."""

    @field_validator("warmup")
    @classmethod
    def _whole(cls, value: float) -> float:
        if value >= 1 and value != round(value):
            raise ValueError(f"warmup is a whole number of steps, or a share of all steps below 1; got {value:g}.")
        return value

    @abstractmethod
    def after(self, step: int, steps: int, warm: int) -> float:
        """Return the share in [0, 1] at a step after the warm-up of `warm` steps."""

    def warm(self, steps: int) -> int:
        """Return the steps of the warm-up in a run of `steps`."""
        return round(self.warmup if self.warmup >= 1 else self.warmup * steps)

    def share(self, step: int, steps: int) -> float:
        """Return the share of the peak at a step, in [floor, 1]; within the warm-up it rises from one part of it to all.

        >>> from septet.train.schedules.wsd import Wsd
        >>> [round(Wsd(warmup=2, decay=0.4).share(step, 10), 2) for step in range(10)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
        """
        warm = self.warm(steps)
        if step < warm:
            return (step + 1) / warm
        return self.floor + (1 - self.floor) * self.after(step, steps, warm)
