"""How a model is adapted: which parameters learn, and how what was learned becomes plain weights again.

    model = adapter.attach(model, seed=0)      # only the adapter's parameters require a gradient
    ...                                        # train
    adapter.save(model, folder)                # the adapter alone, in peft's layout; nothing for `full`
    model = adapter.merge(model)               # the same function of the input, as an ordinary model

What it is not: an objective. What the parameters learn is `septet.train.objective`.

    python -m pytest tests/train/test_adapters.py tests/invariant
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from septet.core.component import Component

if TYPE_CHECKING:  # steps name adapters in their fields, and stay light
    from septet.nn.model import Model

__all__ = ["Adapter"]


class Adapter(Component):
    """A way to adapt a model."""

    drawer: ClassVar[str] = "septet.train.adapters"
    separable: ClassVar[bool] = True
    """Whether the model beneath can still be had (`Model.without_adapter`): the reference of an alignment."""
    peak: ClassVar[float] = 1e-3
    """A learning rate that served at width 256."""

    def learning_rate(self, model: Model) -> float:
        """Return a peak learning rate for fine-tuning this model: `peak` up to width 256, in inverse proportion beyond."""
        return self.peak * min(1.0, 256 / int(getattr(model.config, "hidden_size", 256)))

    @abstractmethod
    def attach(self, model: Model, *, seed: int) -> Model:
        """Return the model with its adapter; exactly the parameters to learn require a gradient. Draws only from `seed`.

        The given model must not be used afterwards. Raises ComponentError where the architecture has no place for it.
        """

    @abstractmethod
    def merge(self, model: Model) -> Model:
        """Return an ordinary model that computes what the adapted one does."""

    @abstractmethod
    def save(self, model: Model, folder: Path) -> bool:
        """Write the adapter alone below `folder`; return False, writing nothing, where there is none."""
