"""Optimizers: AdamW, and Muon for the matrices; their states as plain tensors for checkpoints.

AdamW: Loshchilov and Hutter 2019 (https://arxiv.org/abs/1711.05101). Muon: Jordan 2024
(https://kellerjordan.github.io/posts/muon/), torch's implementation. Weight decay falls on matrices only.

What it is not: a home for schedules; those are `septet.train.plan`.

    python -m pytest tests/train/test_optim.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from septet.train.plan import Plan

__all__ = ["Optimizer", "load_state", "make", "state_of"]

Optimizer = list[torch.optim.Optimizer]
"""One or two torch optimizers over disjoint parameters."""


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
