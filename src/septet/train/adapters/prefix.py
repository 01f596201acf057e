"""Prefix tuning: every layer's attention sees learned keys and values before those of the text; the model stays as it is.

Li and Liang 2021, https://arxiv.org/abs/2101.00190 (and P-tuning v2, Liu et al. 2022). They begin as the keys and values that the
model makes of real tokens (their section 7.4: random ones learn badly), without a network to make them. Packed rows and recomputed
activations work: the prefix is part of the attention, not of a cache.

What it is not: for models that compute attention by themselves (XLNet, Falcon, DeBERTa, MPNet). It cannot be merged; base and
adapter are kept.

    septet finetune --adapter '{kind: prefix, tokens: 20}' ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from septet.core.errors import ComponentError
from septet.train.adapter import VirtualTokens

if TYPE_CHECKING:
    from torch import Tensor, nn

    from septet.nn.model import Model

__all__ = ["Prefix"]


class Prefix(VirtualTokens):
    """Learned keys and values for every layer."""

    peak: ClassVar[float] = 3e-2

    encoder: bool = False
    """For an encoder-decoder: its encoder gets a prefix too. peft knows the decoder's alone, and leaves the encoder's out."""

    def wrap(self, model: Model, ids: Tensor) -> nn.Module:
        import torch

        from septet.nn.soft import Prefix, Vectors, places_of  # transformers: 3 s

        if self.encoder and model.architecture != "encoder-decoder":
            raise ComponentError(
                f"encoder: a '{model.config.model_type}' model has one stack, and it gets its prefix anyway."
            )
        places = places_of(model.base, ids, both=self.encoder)
        # [sites, 2, H, P, W] -> [P, sites * 2 * H * W]
        pairs = torch.stack([torch.stack([site.keys, site.values]) for site in places.sites])
        return Prefix(model.base, Vectors(pairs.permute(3, 0, 1, 2, 4).flatten(1)), self.tokens, places)
