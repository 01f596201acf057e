"""The instruction and the row alone: no examples, no search.

What it is not: a trained head. A label is chosen by the likelihood of its name, or read from what the model writes.

    septet adapt --model base --data reviews --rungs zero-shot --rungs lora
"""

from __future__ import annotations

from septet.infer.asking import Asking, Material
from septet.infer.askings.in_context import Asker, InContext
from septet.infer.engine import Engine

__all__ = ["ZeroShot"]


class ZeroShot(Asking):
    """Ask without examples."""

    @property
    def draws(self) -> bool:
        return False

    def method(self, material: Material) -> InContext:
        return InContext(k=0, **{name: getattr(self, name) for name in Asking.model_fields}).method(material)

    def ready(self, engine: Engine, material: Material) -> Asker:
        return self.method(material).over(engine, labels=material.labels or None)
