"""One vector for a text: the hidden states of its tokens put together, scaled to unit length.

Shapes: B texts, T positions, D width. The three ways are those of sentence-transformers, under the names mean, cls and lasttoken.

What it is not: a model's own pooler (BERT's, a trained layer).

    python -m pytest tests/train/test_contrastive.py
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Pooling", "unit_vectors"]

Pooling = Literal["mean", "first", "last"]
"""Of the hidden states of a text's tokens, special ones too: their mean, the first, or the last (for decoders, which see only what
came before)."""


def unit_vectors(hidden_BTD: Tensor, mask_BT: Tensor, pooling: Pooling) -> Tensor:
    """Return a vector of unit length for each text, float32 [B, D]; mask: 1 where a token is, 0 on padding, on either side."""
    hidden_BTD, mask_BT = hidden_BTD.float(), mask_BT.int()
    if pooling == "mean":
        weights_BT = mask_BT.float()
        found_BD = (hidden_BTD * weights_BT[..., None]).sum(dim=1) / weights_BT.sum(dim=1, keepdim=True)
    else:
        last = mask_BT.shape[1] - 1
        at_B = mask_BT.argmax(dim=1) if pooling == "first" else last - mask_BT.flip(1).argmax(dim=1)
        found_BD = hidden_BTD[torch.arange(len(at_B), device=at_B.device), at_B]
    return torch.nn.functional.normalize(found_BD, dim=-1)
