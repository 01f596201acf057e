"""The four shapes of language models, how each is opened, and who may see whom in a row that holds several documents.

Shapes: B rows, T positions in a row. A mask is added to attention scores: 0 where a position may be seen, the type's least number
where not, [B, 1, T of the queries, T of the keys].

- decoder: each token sees those before it (GPT-2, Llama, Falcon);
- encoder: each token sees all others (BERT, RoBERTa);
- permuted: each token sees those before it in an order that is drawn anew each time (XLNet);
- encoder-decoder: an encoder, and a decoder that sees all of the encoder's positions (T5, BART).

What it is not: the layers themselves; those are transformers'.

    python -m pytest tests/nn/test_architecture.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of", "auto_class", "block_mask", "from_config"]

Architecture = Literal["decoder", "encoder", "permuted", "encoder-decoder"]

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)

_AUTO: Mapping[str, str] = {
    "decoder": "AutoModelForCausalLM",
    "encoder": "AutoModelForMaskedLM",
    "permuted": "AutoModelForCausalLM",  # that is XLNetLMHeadModel, the only one there is
    "encoder-decoder": "AutoModelForSeq2SeqLM",
}


def architecture_of(config: Mapping[str, Any] | Any) -> Architecture:
    """Return the architecture that a configuration (a transformers one, or the content of config.json) describes."""
    content = config if isinstance(config, Mapping) else config.to_dict()
    kind = content.get("model_type")
    if kind == "xlnet":
        return "permuted"
    if content.get("is_encoder_decoder") or kind == "t5":
        return "encoder-decoder"
    names = content.get("architectures") or []
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names) or content.get("is_decoder"):
        return "decoder"
    from transformers.models.auto import modeling_auto  # 2 s to import, and imported already wherever there is a model

    return "encoder" if kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES else "decoder"


def auto_class(architecture: Architecture, *, pairs: bool = False) -> Any:
    """Return transformers' class that makes such a model; pairs: with a head that judges two segments (BERT's)."""
    import transformers  # 2 s to import

    return getattr(transformers, "AutoModelForPreTraining" if pairs else _AUTO[architecture])


def from_config(config: Any, architecture: Architecture, *, pairs: bool = False) -> nn.Module:
    """Return a model with weights drawn anew, float32, in training mode."""
    return auto_class(architecture, pairs=pairs).from_config(config)


def block_mask(
    queries: Tensor, keys: Tensor, *, causal: bool = False, prefix: Tensor | None = None, dtype: torch.dtype
) -> Tensor:
    """Return the mask [B, 1, T, T'] that keeps documents apart.

    queries [B, T], keys [B, T']: the number of the document at each position; what belongs to no document (padding) has number 0
    and sees itself, so that no position sees nothing. causal: positions after a query are hidden, except where `prefix`, a bool
    mask [B, T'], says that the key belongs to the part that all may see.
    """
    allowed = queries[:, :, None] == keys[:, None, :]
    if causal:
        before = torch.ones(allowed.shape[1:], dtype=torch.bool, device=keys.device).tril()
        allowed = allowed & (before if prefix is None else before | prefix[:, None, :])
    mask = torch.zeros(allowed.shape, dtype=dtype, device=keys.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
