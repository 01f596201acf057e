"""Cross-entropy of a vocabulary head without ever holding all logits.

Shapes: N positions, D model width, V vocabulary, C positions in a chunk.

The logits of a chunk of positions are made, used and dropped; positions without a target are never computed. `nll_sum` knows
its weights beforehand and makes the gradient in the forward pass, so the head's product is done once; `nll_each` returns
every position's value, whose gradient may be anything (as in DPO), and makes the logits again in the backward pass.
Same idea as the cut and fused cross-entropies (Wijmans et al. 2024, https://arxiv.org/abs/2411.09009).

A bias [V] of the head is a learned vector; it is added to the logits, and its gradient is the sum of theirs.

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


def nll_sum(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    labels_N: Tensor,
    weights_N: Tensor | None = None,
    bias_V: Tensor | None = None,
) -> Tensor:
    """Return sum_i w_i * -log softmax(W h_i + b)[y_i], a float32 scalar; hidden [N, D], weight [V, D], labels int64 [N].

    Every label must be a target (no -100 here). `weights_N` float32 [N], all one by default, gets no gradient.
    """
    return _Summed.apply(_cast(hidden_ND), weight_VD, labels_N, weights_N, bias_V)  # type: ignore[no-any-return]


def nll_each(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, bias_V: Tensor | None = None) -> Tensor:
    """Return -log softmax(W h_i + b)[y_i] for each position, float32 [N]; hidden [N, D], weight [V, D], labels int64 [N]."""
    return _Each.apply(_cast(hidden_ND), weight_VD, labels_N, bias_V)  # type: ignore[no-any-return]


def _cast(hidden: Tensor) -> Tensor:
    # the final normalisation leaves float32 under autocast; the head's product is in autocast's type, as F.linear's would be
    kind = hidden.device.type
    return hidden.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else hidden


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))


def _chunk_nll(
    hidden_CD: Tensor, head_VD: Tensor, labels_C: Tensor, bias_V: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (nll [C], logits [C, V], log of the partition sum [C, 1]), all float32."""
    logits_CV = (hidden_CD @ head_VD.T).float()
    if bias_V is not None:
        logits_CV += bias_V.float()
    lse_C1 = logits_CV.logsumexp(dim=1, keepdim=True)
    return (lse_C1 - logits_CV.gather(1, labels_C[:, None]))[:, 0], logits_CV, lse_C1


def _residual(logits_CV: Tensor, lse_C1: Tensor, labels_C: Tensor) -> Tensor:
    """Return softmax minus the one-hot target, made in place of the logits."""
    probs_CV = logits_CV.sub_(lse_C1).exp_()
    probs_CV[torch.arange(len(labels_C), device=labels_C.device), labels_C] -= 1.0
    return probs_CV


class _Gradients:
    """The gradients of hidden states, weight and bias, for those that want one; filled chunk by chunk."""

    def __init__(
        self, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, wants: tuple[bool, bool, bool]
    ) -> None:
        self.hidden = torch.empty_like(hidden_ND) if wants[0] else None
        self.weight = torch.zeros_like(weight_VD, dtype=torch.float32) if wants[1] else None
        self.bias = torch.zeros_like(bias_V, dtype=torch.float32) if bias_V is not None and wants[2] else None

    @property
    def wanted(self) -> bool:
        return any(grad is not None for grad in self.all)

    @property
    def all(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.hidden, self.weight, self.bias

    def add(self, part: slice, probs_CV: Tensor, hidden_CD: Tensor, head_VD: Tensor) -> None:
        """probs_CV: the gradient of the chunk's logits, float32."""
        if self.bias is not None:
            self.bias += probs_CV.sum(dim=0)
        probs_CV = probs_CV.to(hidden_CD.dtype)
        if self.hidden is not None:
            torch.mm(probs_CV, head_VD, out=self.hidden[part])
        if self.weight is not None:
            self.weight += probs_CV.T @ hidden_CD


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        labels_N: Tensor,
        weights_N: Tensor | None,
        bias_V: Tensor | None,
    ) -> Tensor:
        wants = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[4])
        with torch.autocast(hidden_ND.device.type, enabled=False):
            head_VD = weight_VD.to(hidden_ND.dtype)
            total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
            grads = _Gradients(hidden_ND, weight_VD, bias_V, wants)
            for part in _chunks(len(labels_N)):
                nll_C, logits_CV, lse_C1 = _chunk_nll(hidden_ND[part], head_VD, labels_N[part], bias_V)
                total += (nll_C if weights_N is None else nll_C * weights_N[part]).sum()
                if not grads.wanted:
                    continue
                probs_CV = _residual(logits_CV, lse_C1, labels_N[part])
                if weights_N is not None:
                    probs_CV *= weights_N[part, None]
                grads.add(part, probs_CV, hidden_ND[part], head_VD)
        ctx.save_for_backward(*grads.all)
        ctx.dtypes = weight_VD.dtype, None if bias_V is None else bias_V.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        return (
            None if hidden is None else hidden * grads[0],
            None if weight is None else (weight * grads[0]).to(ctx.dtypes[0]),
            None,
            None,
            None if bias is None else (bias * grads[0]).to(ctx.dtypes[1]),
        )


class _Each(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, bias_V: Tensor | None) -> Tensor:
        nll_N = torch.empty(len(labels_N), dtype=torch.float32, device=hidden_ND.device)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            head_VD = weight_VD.to(hidden_ND.dtype)
            for part in _chunks(len(labels_N)):
                nll_N[part] = _chunk_nll(hidden_ND[part], head_VD, labels_N[part], bias_V)[0]
        ctx.save_for_backward(hidden_ND, weight_VD, labels_N, bias_V)
        return nll_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, labels_N, bias_V = ctx.saved_tensors
        wants = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[3])
        with torch.autocast(hidden_ND.device.type, enabled=False):
            head_VD = weight_VD.to(hidden_ND.dtype)
            found = _Gradients(hidden_ND, weight_VD, bias_V, wants)
            for part in _chunks(len(labels_N)):
                _, logits_CV, lse_C1 = _chunk_nll(hidden_ND[part], head_VD, labels_N[part], bias_V)
                probs_CV = _residual(logits_CV, lse_C1, labels_N[part]) * grads[0][part, None]
                found.add(part, probs_CV, hidden_ND[part], head_VD)
        hidden, weight, bias = found.all
        return (
            hidden,
            None if weight is None else weight.to(weight_VD.dtype),
            None,
            None if bias is None or bias_V is None else bias.to(bias_V.dtype),
        )
