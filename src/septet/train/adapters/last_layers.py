"""The last layers and the head learn, all others stay as they are.

The oldest way to adapt a network: the early layers are features that are kept, the late ones are made anew for the task. No
parameters are added, and the backward pass ends where the learning layers begin, which saves time as well as memory.

What it is not: an adapter that can be taken off; the learned layers are the model's own, so nothing is saved apart.

    septet finetune --adapter '{kind: last-layers, layers: 2}' ...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from septet.core.errors import ComponentError
from septet.train.adapter import Adapter, plain

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["LastLayers"]


class LastLayers(Adapter):
    """The last layers of the model (of the decoder, where there are two stacks) and its head."""

    separable: ClassVar[bool] = False
    peak: ClassVar[float] = 1e-3

    layers: int = Field(default=2, ge=1)
    """How many layers learn, counted from the end."""

    def attach(self, model: Model, *, seed: int) -> Model:
        from septet.nn.adapted import head_parameters  # transformers: 3 s

        base: Any = plain(model).base
        stack = self._stack(model)
        if self.layers > len(stack):
            raise ComponentError(
                f"layers: {self.layers} were asked for, and this '{model.config.model_type}' model has {len(stack)} of its own; "
                "take fewer, or the adapter full."
            )
        base.requires_grad_(False)
        for layer in list(stack)[len(stack) - self.layers :]:
            layer.requires_grad_(True)
        for _, parameter in head_parameters(base):
            parameter.requires_grad_(True)
        # the head of a language model learns as far as it is not the table of the embeddings
        trunk = {id(p) for p in base.base_model.parameters()} if base.base_model is not base else set()
        table, output = base.get_input_embeddings().weight, base.get_output_embeddings()
        outside = base.parameters() if trunk else output.parameters() if output is not None else ()
        for parameter in outside:
            if id(parameter) not in trunk and parameter is not table:
                parameter.requires_grad_(True)
        return model

    def _stack(self, model: Model) -> Any:
        from torch.nn import ModuleList

        base = model.base
        trunk = base.get_decoder() if model.architecture == "encoder-decoder" else base.base_model
        return next(module for module in trunk.modules() if isinstance(module, ModuleList))

    def merge(self, model: Model) -> Model:
        model.module.requires_grad_(True)
        return model

    def save(self, model: Model, folder: Path) -> bool:
        return False
