"""P-tuning: a small network makes the vectors that are read before the text; it and its inputs learn, the model does not.

Liu et al. 2021, https://arxiv.org/abs/2103.10385, section 3.2, where all virtual tokens stand before the text. The network ties the
vectors together, which makes them learn more evenly than each for itself; once learned, only its results are kept. Here it is added
to the vectors, so that they can begin as tokens (see `septet.nn.soft.Encoded`).

What it is not: P-tuning v2, which is `prefix`. It cannot be merged; base and adapter are kept.

    septet finetune --adapter '{kind: p-tuning, tokens: 20}' ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from septet.train.adapter import VirtualTokens

if TYPE_CHECKING:
    from torch import Tensor, nn

    from septet.nn.model import Model

__all__ = ["PTuning"]


class PTuning(VirtualTokens):
    """Vectors before the text, made by a network that learns."""

    packs: ClassVar[bool] = False
    peak: ClassVar[float] = 5e-3

    network: Literal["mlp", "lstm"] = "mlp"
    """What makes the vectors: two hidden layers, or an LSTM of two layers that reads them both ways."""
    width: int = Field(default=128, ge=1)
    """Width of its hidden layers."""

    def wrap(self, model: Model, ids: Tensor) -> nn.Module:
        from septet.nn.soft import Encoded, Prompt  # transformers: 3 s

        first = model.base.get_input_embeddings().weight[ids]
        return Prompt(model.base, Encoded(first, network=self.network, width=self.width), self.tokens)
