"""Attention of packed rows on a processor: each document by itself, instead of whole rows under a mask.

Shapes: B rows, H heads, T positions, D width of a head; n documents of at most L tokens, padded to L.

A packed row of 256 tokens holds five documents of fifty, and a masked product computes five times what is needed. Here documents
of about one length are gathered into a batch, computed some at a time so that their scores stay in the processor's cache, and put
back. For causal attention the keys after a block of queries are left out too. Scores and softmax are float32, the other products
are in the type of the values; the backward pass makes the probabilities again from the logarithm of their sum, as FlashAttention
does (Dao 2023, https://arxiv.org/abs/2307.08691, algorithms 1 and 2), so that nothing of the size of the scores is kept. Where
there is a C compiler, septet.nn.kernels computes it, several times as fast; what follows here is torch's products, for where
there is none. Probabilities that drop out are drawn from a seed, and again in the backward pass; both ways draw others.

It takes the place of transformers' `sdpa` under the name PACKED; where the mask that it is given is int64 [B, 1, 1, T], this is the
number of the document at each position, 0 for padding. With any other mask it is `sdpa`.

What it is not: for GPUs, which have better kernels; for generating, where there is one query.

    python -m pytest tests/nn/test_packed_attention.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import e, log2
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from septet.nn.kernels import attention as compiled

__all__ = [
    "DOCUMENTED", "PACKABLE", "PACKED", "by_documents", "looks_back", "packed_attention", "scaling_of", "takes_documents",
]  # fmt: skip

PACKED = "septet_packed"
"""The name of this attention among transformers' implementations."""
DOCUMENTED = {"sdpa": PACKED, PACKED: PACKED}
"""What an implementation becomes where masks are documents' numbers; others that understand these add themselves."""
PACKABLE = frozenset({"llama", "qwen2", "qwen3", "mistral", "gpt2", "bert", "roberta", "xlm-roberta", "camembert"})
"""Models whose attention, and nothing else, sees the mask as it is given (tested)."""
TILE = 1 << 18
"""Scores that are computed at one time: 1 MiB of float32, what the second cache of one core holds."""
LOG2_E = log2(e)
BLOCK = 128
"""Queries of one document that are computed at one time."""


def packed_attention(
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    documents_BT: Tensor,
    *,
    causal: bool,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """Return softmax(scale * q k^T) v within each document, [B, T, H, D] in the type of v; 0 where the document is 0.

    documents int64 [B, T]: one number for all positions of a document, which lie beside each other. dropout: the share of
    probabilities that become 0, while the others are divided by what is left. Several heads of q may share one of k and v.
    """
    if (times := q_BHTD.shape[1] // k_BHTD.shape[1]) > 1:
        k_BHTD, v_BHTD = (x.repeat_interleave(times, dim=1) for x in (k_BHTD, v_BHTD))
    q, k, v = (x.to(v_BHTD.dtype).transpose(1, 2) for x in (q_BHTD, k_BHTD, v_BHTD))
    seed = torch.randint(2**62, ()) if dropout else _NO_SEED
    return _forward(q, k, v, documents_BT, seed, causal, scale, dropout)[0]


_NO_SEED = torch.zeros((), dtype=torch.int64)


# -- where the documents are ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """Documents of about one length: `number` of them, padded to `length`; their vectors are `at` among all that are gathered."""

    at: slice
    number: int
    length: int
    lengths: Tensor

    def of(self, gathered: Tensor) -> Tensor:
        """Return this group's part of gathered vectors [M or M + 1, D]: [number, length, D]."""
        return gathered[self.at].view(self.number, self.length, -1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the vectors of documents go. The B*T*H vectors of a batch have one more behind them, 0, which padding points to.

    there int64 [M]: which vector each of the gathered ones is. back int64 [B*T*H]: the gathered one of each vector, M for none.
    """

    documents: Tensor
    heads: int
    there: Tensor
    back: Tensor
    groups: tuple[_Group, ...]


_LAST: list[_Layout] = []
"""The layout of the batch before: all layers of a model have the same."""


def _padded(lengths: np.ndarray) -> np.ndarray:
    """Return 1, or the next multiple of 16 up to 128, of 64 up to 512, of 256 above."""
    step = np.where(lengths <= 128, 16, np.where(lengths <= 512, 64, 256))
    return np.where(lengths == 1, 1, -(-lengths // step) * step)


def _layout(documents_BT: Tensor, heads: int) -> _Layout:
    for last in _LAST:
        if last.heads == heads and torch.equal(last.documents, documents_BT):
            return last
    count = documents_BT.numel()
    rows, places, sizes = compiled.where(documents_BT).T
    starts = rows * documents_BT.shape[1] + places
    padded = _padded(sizes)
    groups, there, place = [], [], 0
    for length in np.unique(padded):
        chosen = padded == length
        within = np.arange(length)
        # [n, H, L]: the vector of head h at place p is p * H + h
        vectors = (starts[chosen, None] + within)[:, None, :] * heads + np.arange(heads)[:, None]
        vectors = np.where((within < sizes[chosen, None])[:, None, :], vectors, count * heads)
        at = slice(place, place := place + vectors.size)
        groups.append(_Group(at, int(chosen.sum()) * heads, int(length), torch.from_numpy(sizes[chosen].repeat(heads))))
        there.append(vectors.reshape(-1))
    gathered = np.concatenate(there) if there else np.zeros(0, np.int64)
    back = np.full(count * heads + 1, len(gathered))
    back[gathered] = np.arange(len(gathered))
    layout = _Layout(
        documents_BT.clone(), heads, torch.from_numpy(gathered), torch.from_numpy(back[:-1]), tuple(groups)
    )
    _LAST[:] = [layout]
    return layout


def _gather(x_BTHD: Tensor, layout: _Layout) -> Tensor:
    """Return the vectors of all documents, [M, D]."""
    width = x_BTHD.shape[-1]
    flat = x_BTHD.new_empty(len(layout.back) + 1, width)
    flat[:-1].view(x_BTHD.shape).copy_(x_BTHD)
    flat[-1] = 0
    return flat.index_select(0, layout.there)


def _scatter(gathered_MD: Tensor, layout: _Layout, shape: torch.Size) -> Tensor:
    """Put vectors back to [B, T, H, D]; 0 where there is none. `gathered` has one row more, which is overwritten."""
    gathered_MD[-1] = 0
    return gathered_MD.index_select(0, layout.back).view(shape)


@lru_cache(maxsize=32)
def _causal(first: int, stop: int) -> Tensor:
    """Return what hides from the queries first .. stop - 1 the keys after them, [stop - first, stop]."""
    later = torch.arange(stop) > torch.arange(first, stop)[:, None]
    return torch.zeros(later.shape).masked_fill_(later, float("-inf"))


def _tiles(group: _Group, causal: bool) -> Iterator[tuple[slice, slice, slice, Tensor | None]]:
    """Yield (documents and heads, queries, keys, what is added to the scores) of pieces whose scores fit into the cache."""
    length, hidden = group.length, None
    if not causal and bool((group.lengths < length).any()):
        beyond = torch.arange(length) >= group.lengths[:, None]
        hidden = torch.zeros(group.number, 1, length).masked_fill_(beyond[:, None], float("-inf"))
    for first in range(0, length, BLOCK):
        queries = slice(first, min(first + BLOCK, length))
        keys = slice(0, queries.stop if causal else length)
        some = max(1, TILE // ((queries.stop - queries.start) * keys.stop))
        for start in range(0, group.number, some):
            part = slice(start, min(start + some, group.number))
            bias = _causal(first, queries.stop) if causal else None if hidden is None else hidden[part]
            yield part, queries, keys, bias


def _scores(q: Tensor, k: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    """Return scale * q k^T + bias, float32."""
    scores = torch.bmm(q.float(), k.float().transpose(1, 2)).mul_(scale)
    return scores if bias is None else scores.add_(bias)


def _masks(dropout: float, seed: Tensor) -> Callable[[Tensor], Tensor | None]:
    """Return what gives, for the pieces in the order of `_tiles`, the factors of probabilities: 0, or 1 / (1 - dropout)."""
    if not dropout:
        return lambda probs: None
    generator = torch.Generator().manual_seed(int(seed))
    return lambda probs: torch.empty(probs.shape).bernoulli_(1 - dropout, generator=generator).div_(1 - dropout)


# -- forward and backward ------------------------------------------------------------------------------------------------
# Powers of two: the library that computes torch.exp takes up to 15 times as long where a result is too small for float32.


@torch.library.custom_op("septet::packed_attention", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, documents: Tensor, seed: Tensor, causal: bool, scale: float, dropout: float
) -> tuple[Tensor, Tensor]:
    """q, k, v [B, T, H, D]. Return (attention [B, T, H, D], base-2 logarithms of the sums float32 [B, T, H])."""
    if compiled.available(v):
        return compiled.forward(q, k, v, documents, causal=causal, scale=scale, dropout=dropout, seed=int(seed))
    mask = _masks(dropout, seed)
    layout, scale = _layout(documents, v.shape[2]), scale * LOG2_E
    qs, ks, vs = (_gather(x, layout) for x in (q, k, v))
    values, logs = vs.new_empty(len(vs) + 1, vs.shape[1]), torch.empty(len(vs) + 1, 1)
    for group in layout.groups:
        q_, k_, v_, out, log = (group.of(x) for x in (qs, ks, vs, values, logs))
        for part, queries, keys, bias in _tiles(group, causal):
            scores = _scores(q_[part, queries], k_[part, keys], scale, bias)
            most = scores.amax(-1, keepdim=True)
            powers = scores.sub_(most).exp2_()
            total = powers.sum(-1, keepdim=True)
            log[part, queries] = total.log2().add_(most)
            probs = powers.div_(total)
            if (kept := mask(probs)) is not None:
                probs = probs.mul_(kept)
            out[part, queries] = torch.bmm(probs.to(v.dtype), v_[part, keys])
    return _scatter(values, layout, v.shape), _scatter(logs, layout, v.shape[:3])


@_forward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, documents: Tensor, seed: Tensor, causal: bool, scale: float, dropout: float
) -> tuple[Tensor, Tensor]:
    return v.new_empty(v.shape), v.new_empty(v.shape[:3], dtype=torch.float32)


@torch.library.custom_op("septet::packed_attention_backward", mutates_args=())
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logs: Tensor,
    documents: Tensor,
    seed: Tensor,
    causal: bool,
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v; all [B, T, H, D], and logs [B, T, H]."""
    if compiled.available(v):
        return compiled.backward(
            grad, q, k, v, out, logs, documents, causal=causal, scale=scale, dropout=dropout, seed=int(seed)
        )
    mask = _masks(dropout, seed)
    layout = _layout(documents, v.shape[2])
    qs, ks, vs, gs = (_gather(x, layout) for x in (q, k, v, grad))
    # the sum over keys of probability times its gradient is the product of the output with its own gradient
    inner = _gather((grad.float() * out.float()).sum(-1, keepdim=True), layout)
    log = _gather(logs[..., None], layout)
    found = [vs.new_empty(len(vs) + 1, vs.shape[1]) for _ in range(3)]
    for group in layout.groups:
        q_, k_, v_, g_, inner_, log_ = (group.of(x) for x in (qs, ks, vs, gs, inner, log))
        into = [group.of(x) for x in found]
        once = group.length <= BLOCK
        sums = into[1:] if once else [torch.zeros(k_.shape), torch.zeros(k_.shape)]
        for part, queries, keys, bias in _tiles(group, causal):
            q__, k__, g__ = q_[part, queries], k_[part, keys], g_[part, queries]
            probs = _scores(q__, k__, scale * LOG2_E, bias).sub_(log_[part, queries]).exp2_()
            slopes = torch.bmm(g__, v_[part, keys].transpose(1, 2)).float()
            kept = mask(probs)
            if kept is not None:
                slopes = slopes.mul_(kept)
            slopes = slopes.sub_(inner_[part, queries]).mul_(probs).to(v.dtype)
            probs = (probs if kept is None else probs.mul_(kept)).to(v.dtype)
            into[0][part, queries] = torch.bmm(slopes, k__)
            pieces = torch.bmm(slopes.transpose(1, 2), q__), torch.bmm(probs.transpose(1, 2), g__)
            for whole, piece in zip(sums, pieces, strict=True):
                if once:
                    whole[part, keys] = piece
                else:
                    whole[part, keys] += piece
        if not once:
            into[1].copy_(sums[0])
            into[2].copy_(sums[1])
    found[0].mul_(scale)
    found[1].mul_(scale)
    return tuple(_scatter(x, layout, v.shape) for x in found)  # type: ignore[return-value]


@_backward.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logs: Tensor,
    documents: Tensor,
    seed: Tensor,
    causal: bool,
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, documents, seed, ctx.causal, ctx.scale, ctx.dropout = inputs
    ctx.save_for_backward(q, k, v, *output, documents, seed)
    ctx.mark_non_differentiable(output[1])


def _gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, out, sums, documents, seed = ctx.saved_tensors
    found = _backward(grad, q, k, v, out, sums, documents, seed, ctx.causal, ctx.scale, ctx.dropout)
    return (*found, None, None, None, None, None)


_forward.register_autograd(_gradients, setup_context=_setup)


def by_documents(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The attention as transformers calls it: ours where the mask is the documents' numbers, `sdpa` otherwise."""
    if attention_mask is None or attention_mask.dtype != torch.int64:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling=scaling, is_causal=is_causal, **others
        )
    settings = {"causal": looks_back(module, is_causal), "scale": scaling_of(query, scaling), "dropout": dropout}
    return packed_attention(query, key, value, attention_mask[:, 0, 0], **settings), None


def looks_back(module: Any, is_causal: bool | None) -> bool:
    """Whether an attention is causal: what the call says, or else the module."""
    return bool(getattr(module, "is_causal", True)) if is_causal is None else is_causal


def scaling_of(query: Tensor, scaling: float | None) -> float:
    """Return what scores are multiplied by: what the call says, or one over the root of the width."""
    return query.shape[-1] ** -0.5 if scaling is None else scaling


AttentionInterface.register(PACKED, by_documents)
AttentionMaskInterface.register(PACKED, sdpa_mask)


def takes_documents(config: Any) -> bool:
    """Whether a model can be given documents' numbers as its mask; where it can, its attention is this one from now on.

    Only without windows, and where the model was not asked for another attention.
    """
    if config.model_type not in PACKABLE or config._attn_implementation not in DOCUMENTED:
        return False
    layers = getattr(config, "layer_types", None) or ()
    if getattr(config, "sliding_window", None) or any("sliding" in kind for kind in layers):
        return False
    config._attn_implementation = DOCUMENTED[config._attn_implementation]
    return True
