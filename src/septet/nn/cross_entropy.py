"""Cross-entropy of a vocabulary head without ever holding all logits.

Shapes: N positions, D model width, V vocabulary, C positions in a chunk.

The logits of a chunk of positions are made, used and dropped; positions without a target are never computed. `nll_sum` knows
its weights beforehand and makes the gradient in the forward pass, so the head's product is done once; `nll_each` returns
every position's value, whose gradient may be anything (as in DPO), and makes the logits again in the backward pass.
Same idea as the cut and fused cross-entropies (Wijmans et al. 2024, https://arxiv.org/abs/2411.09009). On a processor with a C
compiler septet.nn.kernels makes losses and gradients of the logits in one pass over them.

A bias [V] of the head is a learned vector; it is added to the logits, and its gradient is the sum of theirs.

What it is not: a module. The head's weight belongs to the model.

    python -m pytest tests/nn/test_cross_entropy.py
"""

from __future__ import annotations

from collections.abc import Iterator
from math import e, log2
from typing import Any

import torch
from torch import Tensor

from septet.nn.kernels import cross_entropy as compiled

__all__ = ["CHUNK", "nll_each", "nll_sum"]

CHUNK = 1024
"""Positions whose logits, or gradients of logits, exist at one time, in the type of the hidden states."""
TILE = 1 << 20
"""Logits that are float32 at one time on a processor: 4 MiB, so that the softmax works in its cache."""
LOG2_E = log2(e)


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


def _chunk(
    hidden_CD: Tensor,
    head_VD: Tensor,
    labels_C: Tensor,
    bias_V: Tensor | None,
    *,
    slopes: bool = False,
    weights_C: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return nll [C], float32, and the gradient of the logits [C, V] of weights * nll, in the type of the hidden states.

    That gradient is softmax minus the one-hot target; without `slopes` it is empty, [0, V].

    Powers of two instead of exp: on a processor the library behind torch.exp takes up to 15 times as long where a result is too
    small for float32.
    """
    count, size = len(labels_C), len(head_VD)
    if compiled.available(hidden_CD):
        logits = torch.mm(hidden_CD, head_VD.T)
        return compiled.nll_(logits, labels_C, bias_V, weights_C, slopes=slopes), logits if slopes else logits[:0]
    rows = min(count, max(1, TILE // size)) if hidden_CD.device.type == "cpu" else count
    nll_C = torch.empty(count, dtype=torch.float32, device=hidden_CD.device)
    slopes_CV = hidden_CD.new_empty(count if slopes else 0, size)
    for start in range(0, count, rows):
        part = slice(start, min(start + rows, count))
        logits = torch.mm(hidden_CD[part], head_VD.T).float()
        if bias_V is not None:
            logits += bias_V.float()
        target = logits.gather(1, labels_C[part, None])
        most = logits.amax(dim=1, keepdim=True)
        powers = logits.sub_(most).mul_(LOG2_E).exp2_()
        total = powers.sum(dim=1, keepdim=True)
        nll_C[part] = (total.log() + most - target)[:, 0]
        if slopes:
            probs = powers.div_(total)
            probs.scatter_add_(1, labels_C[part, None], torch.full_like(target, -1.0))
            slopes_CV[part] = probs if weights_C is None else probs.mul_(weights_C[part, None])
    return nll_C, slopes_CV


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

    def add(self, part: slice, slopes_CV: Tensor, hidden_CD: Tensor, head_VD: Tensor) -> None:
        """slopes_CV: the gradient of the chunk's logits."""
        if self.bias is not None:
            self.bias += slopes_CV.sum(dim=0, dtype=torch.float32)
        if self.hidden is not None:
            torch.mm(slopes_CV, head_VD, out=self.hidden[part])
        if self.weight is not None:
            self.weight += slopes_CV.T @ hidden_CD


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
                weights_C = None if weights_N is None else weights_N[part]
                nll_C, slopes_CV = _chunk(
                    hidden_ND[part], head_VD, labels_N[part], bias_V, slopes=grads.wanted, weights_C=weights_C
                )
                total += (nll_C if weights_C is None else nll_C * weights_C).sum()
                if grads.wanted:
                    grads.add(part, slopes_CV, hidden_ND[part], head_VD)
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
                nll_N[part] = _chunk(hidden_ND[part], head_VD, labels_N[part], bias_V)[0]
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
                _, slopes_CV = _chunk(
                    hidden_ND[part], head_VD, labels_N[part], bias_V, slopes=True, weights_C=grads[0][part]
                )
                found.add(part, slopes_CV, hidden_ND[part], head_VD)
        hidden, weight, bias = found.all
        return (
            hidden,
            None if weight is None else weight.to(weight_VD.dtype),
            None,
            None if bias is None or bias_V is None else bias.to(bias_V.dtype),
        )
