"""Optimizers: AdamW, and Muon for the matrices; their states as plain tensors for checkpoints.

AdamW: Loshchilov and Hutter 2019 (https://arxiv.org/abs/1711.05101), torch's. Muon: Jordan 2024
(https://kellerjordan.github.io/posts/muon/), with the step's size matched to AdamW's (Liu et al. 2025,
https://arxiv.org/abs/2502.16982, section 2.2), so that one learning rate serves both. Weight decay falls on matrices only.

What it is not: a home for schedules; those are `septet.train.plan`.

    python -m pytest tests/train/test_optim.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from septet.nn.device import bfloat16_is_native
from septet.train.plan import Plan

__all__ = ["Muon", "Optimizer", "load_state", "make", "orthogonal", "set_rate", "state_of"]

Optimizer = list[torch.optim.Optimizer]
"""One or two torch optimizers over disjoint parameters."""


def orthogonal(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """Return a matrix [M, N] with the singular vectors of the given one and singular values near one (within 0.6 and 1.3).

    Newton-Schulz iteration with Jordan's quintic coefficients, in the matrix's own type.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal. Only for matrices [M, N] in float32.

    torch has a Muon too, which computes in bfloat16 everywhere; on a processor that emulates bfloat16 its step takes longer than
    the rest of the training. This one does so only where bfloat16 is native, and is otherwise the same (tested against it).
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], *, lr: float = 1.0, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step for every matrix that has a gradient."""
        assert closure is None, "the loop computes the gradient beforehand"
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - momentum)
                update = p.grad.lerp(state["momentum"], momentum)  # Nesterov's look ahead
                dtype = torch.bfloat16 if bfloat16_is_native(p.device) else torch.float32
                update = orthogonal(update.to(dtype)).to(p.dtype)
                p.mul_(1 - rate * group["weight_decay"])
                # 0.2 is about the root mean square of AdamW's steps; an orthogonal [M, N] has 1 / sqrt(max(M, N))
                p.add_(update, alpha=-rate * 0.2 * max(p.shape) ** 0.5)


def make(parameters: Mapping[str, nn.Parameter], plan: Plan) -> Optimizer:
    """Return the optimizers for the named parameters."""
    matrices = {name: p for name, p in parameters.items() if p.ndim >= 2}
    inner = {name: p for name, p in matrices.items() if p.ndim == 2 and "embed" not in name and "lm_head" not in name}
    found: Optimizer = []
    if plan.optimizer == "muon" and inner:
        found.append(
            torch.optim.Muon(
                list(inner.values()), lr=1.0, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
        matrices = {name: p for name, p in matrices.items() if name not in inner}
    vectors = [p for p in parameters.values() if p.ndim < 2]
    groups = [
        {"params": list(matrices.values()), "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if groups:
        found.append(torch.optim.AdamW(groups, lr=1.0, betas=plan.betas, eps=plan.epsilon, fused=True))
    return found


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for part in optimizer:
        for group in part.param_groups:
            group["lr"] = rate


def state_of(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, plain values) of the state, with flat names."""
    tensors, values = {}, {}
    for number, part in enumerate(optimizer):
        for index, slots in part.state_dict()["state"].items():
            for slot, value in slots.items():
                (tensors if isinstance(value, Tensor) else values)[f"{number}.{index}.{slot}"] = value
    return tensors, values


def load_state(optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Put back what `state_of` returned, into fresh optimizers over the same parameters."""
    for number, part in enumerate(optimizer):
        whole = part.state_dict()
        slots: dict[int, dict[str, Any]] = {}
        for name, value in {**tensors, **values}.items():
            which, index, slot = name.split(".", 2)
            if int(which) == number:
                slots.setdefault(int(index), {})[slot] = value
        part.load_state_dict({**whole, "state": slots})
