"""An optimizer as a choice: its own settings, and the torch optimizers that it makes for named parameters.

Weight decay falls on matrices (two dimensions and more, embeddings too) and never on vectors: norms and biases.

What it is not: the mathematics; that is torch's, or in `septet.train.optim`.

    python -m pytest tests/train/test_optim.py
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from septet.core.component import Component

if TYPE_CHECKING:  # torch takes 1.5 s to import, and a recipe with an optimizer in it is parsed without
    import torch
    from torch import nn

__all__ = ["Optimizer", "groups"]


class Optimizer(Component):
    """Makes the torch optimizers of a run."""

    drawer: ClassVar[str] = "septet.train.optimizers"
    relative_rate: ClassVar[float] = 1.0
    """What a peak rate that was found with Muon is multiplied with, where none is given."""
    shards: ClassVar[bool] = True
    """Whether it can work on parameters that are split over ranks."""

    @abstractmethod
    def make(self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return one or two torch optimizers over disjoint parameters, with a rate of 1; the loop sets it before each step."""


def groups(parameters: Mapping[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters in groups: matrices decay, vectors and biases do not; no group is empty."""
    decays = {name for name, p in parameters.items() if p.ndim >= 2 and not name.endswith("bias")}
    found = [
        {"params": [p for name, p in parameters.items() if name in decays], "weight_decay": weight_decay},
        {"params": [p for name, p in parameters.items() if name not in decays], "weight_decay": 0.0},
    ]
    return [group for group in found if group["params"]]
