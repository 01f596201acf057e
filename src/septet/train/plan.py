"""A plan: everything about a training run but the model, the data and the loss.

Lengths are optimizer steps, never seconds, so that a run on a slower machine is the same run. Only checkpoints may follow the
clock, since they change nothing.

What it is not: a component. Steps have fields for what people choose, and build a Plan of them.

    python -m pytest tests/train/test_plan.py
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from septet.core.component import Component
from septet.train.optimizer import Optimizer
from septet.train.optimizers.adamw import AdamW
from septet.train.schedule import Schedule
from septet.train.schedules.cosine import Cosine

__all__ = ["Plan", "Precision"]

Precision = Literal["auto", "float32", "bfloat16", "float16"]

KEEPING = frozenset({"checkpoint_every", "checkpoint_seconds", "keep"})
"""Settings that say when and how often something is written, and change nothing that is learned."""
ADAMW, COSINE = AdamW(), Cosine(warmup=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of one training run.

    steps: optimizer steps. learning_rate: the peak; schedule: its course. weight_decay: of matrices, in units of the rate.
    clip: the largest norm of the gradient (0: no clipping). micro_rows: rows of one forward pass; None takes the whole batch.
    precision: "auto" computes in bfloat16 where the device has it natively; float16 scales the loss; master weights are always
    float32. compile: torch.compile for the trunk; "auto" tries both ways on the first batch and takes the one that will be done
    first. recompute: forget the activations of a layer and make them again in the backward pass.

    eval_every: held-out evaluation every so many steps, and at the end (None: only at the end). stop_after: end after so many
    evaluations in a row that were not better than the best by min_delta, and keep the best weights. average: an exponential average
    of the weights with this decay is what is evaluated and kept.

    spike: a loss of so many standard deviations above the mean of the last ones is not learned from. patience: after so many steps
    in a row that were not learned from, go back to the last anchor, on with other data; after a few times give up.

    checkpoint_every: steps between checkpoints; None measures the speed and writes about every checkpoint_seconds. keep: how many.
    """

    steps: int
    learning_rate: float
    optimizer: Optimizer = ADAMW
    schedule: Schedule = COSINE
    weight_decay: float = 0.0
    clip: float = 1.0
    micro_rows: int | None = None
    precision: Precision = "auto"
    compile: bool | Literal["auto"] = False
    recompute: bool = False
    eval_every: int | None = None
    eval_rows: int = 16
    stop_after: int | None = None
    min_delta: float = 0.0
    average: float | None = None
    spike: float | None = None
    patience: int = 5
    checkpoint_every: int | None = None
    checkpoint_seconds: float = 15.0
    keep: int = 2
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.learning_rate * self.schedule.share(step, self.steps)

    def facts(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in KEEPING}
        return {name: value.dump() if isinstance(value, Component) else value for name, value in values.items()}
