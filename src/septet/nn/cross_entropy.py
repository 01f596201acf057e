"""Cross-entropy of a vocabulary head without ever holding all logits.

Shapes: N positions, D model width, V vocabulary, C positions in a chunk.

The logits of a chunk of positions are made, used and dropped; positions without a target are never computed. `nll_sum` knows
its weights beforehand and makes the gradient in the forward pass, so the head's product is done once; `nll_each` returns
every position's value, whose gradient may be anything (as in DPO), and makes the logits again in the backward pass.
Same idea as the cut and fused cross-entropies (Wijmans et al. 2024, https://arxiv.org/abs/2411.09009).

What it is not: a module. The head's weight belongs to the model.

    python -m pytest tests/nn/test_cross_entropy.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["CHUNK", "nll_each", "nll_sum"]

CHUNK = 1024
"""Positions whose logits exist at one time: [1024, 4096] in float32 is 16 MiB."""


def nll_sum(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, weights_N: Tensor | None = None) -> Tensor:
    """Return sum_i w_i * -log softmax(W h_i)[y_i], a float32 scalar; hidden [N, D], weight [V, D], labels int64 [N].

    Every label must be a target (no -100 here). `weights_N` float32 [N], all one by default, gets no gradient.
    """
    return _Summed.apply(_cast(hidden_ND), weight_VD, labels_N, weights_N)  # type: ignore[no-any-return]


def nll_each(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
    """Return -log softmax(W h_i)[y_i] for each position, float32 [N]; hidden [N, D], weight [V, D], labels int64 [N]."""
    return _Each.apply(_cast(hidden_ND), weight_VD, labels_N)  # type: ignore[no-any-return]


def _cast(hidden: Tensor) -> Tensor:
    # the final normalisation leaves float32 under autocast; the head's product is in autocast's type, as F.linear's would be
    kind = hidden.device.type
    return hidden.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else hidden


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))


def _chunk_nll(hidden_CD: Tensor, head_VD: Tensor, labels_C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (nll [C], logits [C, V], log of the partition sum [C, 1]), all float32."""
    logits_CV = (hidden_CD @ head_VD.T).float()
    lse_C1 = logits_CV.logsumexp(dim=1, keepdim=True)
    return (lse_C1 - logits_CV.gather(1, labels_C[:, None]))[:, 0], logits_CV, lse_C1


def _residual(logits_CV: Tensor, lse_C1: Tensor, labels_C: Tensor) -> Tensor:
    """Return softmax minus the one-hot target, made in place of the logits."""
    probs_CV = logits_CV.sub_(lse_C1).exp_()
    probs_CV[torch.arange(len(labels_C), device=labels_C.device), labels_C] -= 1.0
    return probs_CV


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, weights_N: Tensor | None) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        kind = hidden_ND.device.type
        with torch.autocast(kind, enabled=False):
            head_VD = weight_VD.to(hidden_ND.dtype)
            total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
            grad_hidden = torch.empty_like(hidden_ND) if wants_hidden else None
            grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if wants_weight else None
            for part in _chunks(len(labels_N)):
                nll_C, logits_CV, lse_C1 = _chunk_nll(hidden_ND[part], head_VD, labels_N[part])
                total += (nll_C if weights_N is None else nll_C * weights_N[part]).sum()
                if grad_hidden is None and grad_weight is None:
                    continue
                probs_CV = _residual(logits_CV, lse_C1, labels_N[part])
                if weights_N is not None:
                    probs_CV *= weights_N[part, None]
                probs_CV = probs_CV.to(hidden_ND.dtype)
                if grad_hidden is not None:
                    torch.mm(probs_CV, head_VD, out=grad_hidden[part])
                if grad_weight is not None:
                    grad_weight += probs_CV.T @ hidden_ND[part]
        ctx.save_for_backward(*(grad for grad in (grad_hidden, grad_weight) if grad is not None))
        ctx.wants, ctx.weight_dtype = (wants_hidden, wants_weight), weight_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = list(ctx.saved_tensors)
        grad_hidden = saved.pop(0) * grads[0] if ctx.wants[0] else None
        grad_weight = (saved.pop(0) * grads[0]).to(ctx.weight_dtype) if ctx.wants[1] else None
        return grad_hidden, grad_weight, None, None


class _Each(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
        nll_N = torch.empty(len(labels_N), dtype=torch.float32, device=hidden_ND.device)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            head_VD = weight_VD.to(hidden_ND.dtype)
            for part in _chunks(len(labels_N)):
                nll_N[part] = _chunk_nll(hidden_ND[part], head_VD, labels_N[part])[0]
        ctx.save_for_backward(hidden_ND, weight_VD, labels_N)
        return nll_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, labels_N = ctx.saved_tensors
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        with torch.autocast(hidden_ND.device.type, enabled=False):
            head_VD = weight_VD.to(hidden_ND.dtype)
            grad_hidden = torch.empty_like(hidden_ND) if wants_hidden else None
            grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if wants_weight else None
            for part in _chunks(len(labels_N)):
                _, logits_CV, lse_C1 = _chunk_nll(hidden_ND[part], head_VD, labels_N[part])
                probs_CV = _residual(logits_CV, lse_C1, labels_N[part]) * grads[0][part, None]
                probs_CV = probs_CV.to(hidden_ND.dtype)
                if grad_hidden is not None:
                    torch.mm(probs_CV, head_VD, out=grad_hidden[part])
                if grad_weight is not None:
                    grad_weight += probs_CV.T @ hidden_ND[part]
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight_VD.dtype), None
