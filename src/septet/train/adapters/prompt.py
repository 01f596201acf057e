"""Prompt tuning: learned vectors are read before the text, as if they were tokens; the model itself stays as it is.

Lester et al. 2021, https://arxiv.org/abs/2104.08691. The vectors begin as embedded tokens of the vocabulary or of a text of one's
own (section 3.2: much better than at random, where the model is small). An encoder-decoder's encoder reads them.

What it is not: for packed rows: one prompt stands before one text. It cannot be merged; base and adapter are kept.

    septet finetune --adapter '{kind: prompt, tokens: 20}' ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from septet.train.adapter import VirtualTokens

if TYPE_CHECKING:
    from torch import Tensor, nn

    from septet.nn.model import Model

__all__ = ["Prompt"]


class Prompt(VirtualTokens):
    """Learned vectors before the text."""

    packs: ClassVar[bool] = False
    peak: ClassVar[float] = 3e-2

    def wrap(self, model: Model, ids: Tensor) -> nn.Module:
        from septet.nn.soft import Prompt, Vectors  # transformers: 3 s

        return Prompt(model.base, Vectors(model.base.get_input_embeddings().weight[ids]), self.tokens)
