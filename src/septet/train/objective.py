"""What we minimise, and nothing else: rows to a batch, a batch to terms.

Each term is a sum with a weight that was known before the forward pass, so the loop can divide once by the weight of the whole
window (all micro-batches of an optimizer step): accumulating 8x1 equals 1x8, however ragged the masks are.

What it is not: a trainer. The loop is `septet.train.loop.fit`, for every objective.

    python -m pytest tests/train tests/invariant/test_accumulation.py
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from septet.core.component import Component

if TYPE_CHECKING:  # torch takes 1.5 s to import, and a recipe with an objective in it is parsed without
    import torch
    from numpy.random import Generator
    from torch import Tensor

    from septet.nn.model import Model

__all__ = ["Batch", "Objective", "State", "Term"]

State = dict[str, Any]
"""What an objective learns on the way (an adaptive coefficient, an average): tensors and JSON values, kept in checkpoints."""


@dataclass(frozen=True, slots=True)
class Term:
    """A part of the loss: `sum / weight` is its mean. `minimised` False makes it a figure to watch, without gradient."""

    sum: Tensor
    weight: float
    minimised: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The tensors of one forward pass.

    inputs: what the model's trunk takes (input_ids int64 [B, T], position_ids, ...). weights: term -> weight, known beforehand.
    tokens: the number of positions that hold text. labels: int64 [B, T], -100 for none. extra: what else the loss needs.
    """

    inputs: dict[str, Tensor]
    weights: dict[str, float]
    tokens: int
    labels: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return replace(self, inputs=move(self.inputs), labels=labels, extra=move(self.extra))


class Objective(Component):
    """A loss over batches. Its terms are added with weight one each, after division by their own weights."""

    drawer: ClassVar[str] = "septet.train.objectives"
    couples: ClassVar[bool] = False
    """True where examples of a batch see each other (InfoNCE): such a batch is never split."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of the frozen models that `loss` takes: reference, reward, teacher."""

    @abstractmethod
    def prepare(self, rows: Sequence[Any], tokenizer: Any, rng: Generator) -> Batch:
        """Make tensors of rows. Draw random numbers only from `rng`, row by row, so that splitting a batch changes nothing."""

    @abstractmethod
    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return the terms by name; each weight equals `batch.weights[name]` (figures not minimised may have their own)."""

    def start(self, model: Model) -> State:
        """Return the state before the first step; empty for most."""
        return {}
