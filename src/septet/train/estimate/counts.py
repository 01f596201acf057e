"""Parameters and arithmetic of a model, counted from its modules and from one prepared batch.

Shapes: B rows, T positions in a row, D width, V vocabulary.

Training costs 6 operations for each weight and each position that the weight multiplies (a multiplication and an addition,
forward once and backward twice), and 12 L d T for attention's own two products in each of L layers over T keys (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1; Chowdhery et al. 2022, arXiv:2204.02311, appendix B): a decoder does (6 N + 12 L d T) a token. N
holds matrices and the vocabulary head, once even where it is tied to the embeddings; looking an embedding up multiplies nothing. A
causal mask halves what is needed and not what is counted, as in the published figures.

What differs: an encoder-decoder's matrices see the positions of their own side, and the keys and values of its cross-attention
those of the encoder; a masked or permuted model's head sees only the positions with a label; XLNet runs a second stream over the
targets, and a product over 2 T relative positions.

What it is not: a count of what a processor does; recomputed activations, softmax and norms are left out.

    python -m pytest tests/train/test_estimate.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from septet.nn.architecture import Architecture
from septet.train.objective import Batch

__all__ = ["Counts", "attention_width", "count", "flops", "saved_bytes"]

_VECTORS = ("bias", "seg_embed", "mask_emb")
"""Parameters of two dimensions and more that are added, never multiplied with (XLNet's)."""
_BEFORE_HEAD = ("cls.predictions.transform", "lm_head.dense")
"""What BERT and RoBERTa put before the head, for the positions with a label only."""
_CROSS = (".EncDecAttention.k.", ".EncDecAttention.v.", ".encoder_attn.k_proj.", ".encoder_attn.v_proj.")


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of parameters. parameters, trainable: all. matrices: multiply every position of the (decoder's) row.

    encoder: multiply the encoder's positions. head: multiply the positions with a label. relative: XLNet's, over 2 T positions.
    """

    parameters: int
    trainable: int
    matrices: int
    head: int
    encoder: int = 0
    relative: int = 0

    @property
    def multiplied(self) -> int:
        """N of 6 N: everything that multiplies."""
        return self.matrices + self.head + self.encoder + self.relative


def count(module: nn.Module, architecture: Architecture) -> Counts:
    """Count a transformers model; it may be on the device "meta"."""
    tables = {id(p) for part in module.modules() if isinstance(part, nn.Embedding) for p in part.parameters(False)}
    head_weight = module.get_output_embeddings().weight  # type: ignore[operator]
    found = {"matrices": 0, "head": head_weight.numel(), "encoder": 0, "relative": 0}
    for name, p in module.named_parameters():
        if id(p) in tables or p is head_weight or p.ndim < 2 or name.endswith(_VECTORS):
            continue
        if "pooler" in name or "seq_relationship" in name:
            continue  # once a piece of text: too few to count
        if name.startswith(_BEFORE_HEAD):
            place = "head"
        elif architecture == "permuted" and name.endswith("rel_attn.r"):
            place = "relative"
        elif architecture == "encoder-decoder" and ("encoder" in name.split(".") or any(c in name for c in _CROSS)):
            place = "encoder"
        else:
            place = "matrices"
        found[place] += p.numel()
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return Counts(sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns), **found)


def attention_width(config: Any) -> int:
    """Return the width of all heads together, which is the model's unless the configuration says otherwise."""
    each = getattr(config, "d_kv", None) or getattr(config, "head_dim", None)
    heads = int(config.num_attention_heads)
    return int(each) * heads if isinstance(each, int) else int(config.hidden_size)


def flops(counts: Counts, config: Any, batch: Batch, architecture: Architecture) -> float:
    """Return the operations of a training step's forward and backward pass over a batch, padding included."""
    assert batch.labels is not None
    rows, length = batch.inputs["input_ids"].shape
    labels = int((batch.labels != -100).sum())
    layers, width = int(config.num_hidden_layers), attention_width(config)
    if architecture == "permuted":
        # two streams: content over all T positions, and queries over the P targets, which transformers spreads over T places for
        # the attention itself; each sees T keys and 2 T relative positions. Keys and values are made once. What the content stream
        # of the last layer gives is not learned from: it goes forward only
        targets = batch.inputs["target_mapping"].shape[1]
        keys_values = 2 * int(config.hidden_size) * width
        layer = counts.matrices / layers
        content = layers * 6 * layer * length - 4 * (layer - keys_values) * length
        queries = layers * 6 * (layer - keys_values) * targets
        relative = 4 * counts.relative * 2 * length  # positions themselves have no gradient
        attention = (6 * (2 * layers - 1) + 2) * width * length * 4 * length
        mapping = layers * 8 * width * length * targets
        return float(rows * (content + queries + relative + attention + mapping) + 6 * counts.head * labels)
    if architecture == "encoder-decoder":
        own = batch.inputs["decoder_input_ids"].shape
        decoding = int(getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", None) or layers)
        attention = layers * rows * length * length
        attention += decoding * own[0] * own[1] * (own[1] + length)
        products = counts.encoder * rows * length + counts.matrices * own[0] * own[1] + counts.head * labels
        return float(6 * products + 12 * width * attention)
    products = counts.matrices * rows * length + counts.head * labels
    return float(6 * products + 12 * layers * width * length * rows * length)


def saved_bytes(model: Any, inputs: dict[str, torch.Tensor]) -> int:
    """Return the bytes that a forward pass of the trunk keeps for the backward pass, beside the weights; float32.

    On the device "meta" nothing is computed, so a model of any size can be asked. `model`: a `septet.nn.model.Model`.
    """
    own = {p.untyped_storage()._cdata for p in model.module.parameters()}
    seen: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = (storage.nbytes(), tensor)  # the tensor too, or its place would be used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.outputs(inputs)
    return sum(size for size, _ in seen.values())
