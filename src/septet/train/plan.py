"""How long and how fast to train: steps, learning rate over time, clipping, evaluation, checkpoints.

Lengths are optimizer steps, never seconds, so that a run on a slower machine is the same run.

What it is not: a component. Steps have fields for what people choose, and build a Plan of them.

    python -m pytest tests/train/test_plan.py
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of one training run.

    steps: optimizer steps. learning_rate: the peak. warmup: steps of linear rise. schedule: "cosine" falls over the rest;
    "wsd" (warm-up, stable, decay) stays at the peak and falls linearly over the last `decay` share; "constant" stays.
    floor: the share of the peak at the end. clip: the largest norm of the gradient (0: no clipping).
    micro_rows: rows of one forward pass; None takes the whole batch at once. eval_every: held-out evaluation every so many steps,
    and at the end (None: only at the end). checkpoint_every: None measures the speed and writes about every 15 seconds.
    precision: "auto" computes in bfloat16 where the device has it natively; master weights are always float32.
    optimizer: "adamw", or "muon" for the matrices with AdamW for the rest. compile: torch.compile for the trunk.
    """

    steps: int
    learning_rate: float
    warmup: int = 0
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    decay: float = 0.4
    floor: float = 0.0
    optimizer: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip: float = 1.0
    micro_rows: int | None = None
    eval_every: int | None = None
    eval_rows: int = 16
    checkpoint_every: int | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0.

        >>> plan = Plan(steps=10, learning_rate=1.0, warmup=2, schedule="wsd", decay=0.4)
        >>> [round(plan.rate(step), 2) for step in range(10)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
        """
        return self.learning_rate * self.share(step)

    def share(self, step: int) -> float:
        """Return the share of the peak at a step, in [floor, 1]."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "wsd":
            falling = max(1, round(self.decay * self.steps))
            left = min(1.0, (self.steps - step) / (falling + 1))
        else:
            left = 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))
        return self.floor + (1 - self.floor) * left

    def facts(self) -> dict[str, Any]:
        return asdict(self)
